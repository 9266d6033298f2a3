#pragma once
// A made-up machine's /proc/self and control groups, as files.
#include <fcntl.h>
#include <unistd.h>
#include <cstdlib>

#include <filesystem>
#include <stdexcept>
#include <string>

#include "core/runtime/cgroup.hpp"
#include "core/runtime/gomaxprocs.hpp"

namespace fiberd::test {

/// A made-up /proc/self and cgroup tree.
class FakeHost {
 public:
  FakeHost() {
    std::string pattern = (std::filesystem::temp_directory_path() / "fiberd-cgroup-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    dir_ = pattern;
    std::filesystem::create_directories(dir_ / "proc");
  }
  FakeHost(const FakeHost&) = delete;
  FakeHost& operator=(const FakeHost&) = delete;
  ~FakeHost() {
    std::error_code ignored;
    std::filesystem::remove_all(dir_, ignored);
  }
  /// Never empty in between, as the kernel's files are not: who reads it meanwhile would take an empty one for no
  /// limit.
  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = dir_ / path;
    std::filesystem::create_directories(file.parent_path());
    const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    const auto size = static_cast<ssize_t>(text.size());
    const bool written = fd >= 0 && ::pwrite(fd, text.data(), text.size(), 0) == size && ::ftruncate(fd, size) == 0;
    if (fd >= 0) ::close(fd);
    if (!written) throw std::runtime_error(file.string());
  }
  /// Also what FIBERDEBUG=cgroup= is given.
  [[nodiscard]] std::string directory() const { return dir_.string(); }
  [[nodiscard]] runtime::CgroupPaths paths() const { return {(dir_ / "proc").string(), (dir_ / "root").string()}; }
  [[nodiscard]] runtime::CpuSources sources(unsigned affinity) const {
    return {nullptr, 0, paths(), affinity, 1U << 20U};
  }

 private:
  std::filesystem::path dir_;
};

inline constexpr const char* kV2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
inline constexpr const char* kV1 =
    "30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "32 30 0:28 / /sys/fs/cgroup/memory rw shared:10 - cgroup cgroup rw,memory\n"
    "33 30 0:29 / /sys/fs/cgroup/unified rw shared:11 - cgroup2 cgroup2 rw\n";

}  // namespace fiberd::test

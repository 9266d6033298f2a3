#pragma once
// A control group of the test's own with a memory limit, of version 1 or 2, whichever the machine has; and programs
// that run in it. Not everywhere may one be made: in most containers, and as another user than root, not.
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "core/runtime/cgroup.hpp"
#include "tests/support/daemon.hpp"

namespace fiberd::test {

class MemoryCgroup {
 public:
  explicit MemoryCgroup(std::uint64_t limit) {
    static std::atomic<unsigned> next{0};
    const auto own = runtime::find_cgroup("memory", {});
    if (!own) return lack("no memory control group is mounted");
    version_ = own->version;
    const std::string name = "/fiberd-test-" + std::to_string(::getpid()) + "-" + std::to_string(next++);
    // Version 2: a group with processes can have no groups with limits below it, so beside all others, at the mount.
    const std::string above = version_ == 1 ? own->directory : own->mount;
    if (version_ == 2 && !write(above + "/cgroup.subtree_control", "+memory"))
      return lack("memory limits cannot be set below " + above);
    if (::mkdir((above + name).c_str(), 0755) != 0) return lack("no control group can be made in " + above);
    path_ = above + name;
    if (!set_limit(limit)) lack("no memory limit can be set in " + path_);
    // Else it grows into swap instead of being killed.
    if (version_ == 2) (void)write(path_ + "/memory.swap.max", "0");
  }
  ~MemoryCgroup() {
    // What ran in it has ended and is being forgotten.
    if (!path_.empty()) (void)eventually([&] { return ::rmdir(path_.c_str()) == 0; });
  }
  MemoryCgroup(const MemoryCgroup&) = delete;
  MemoryCgroup& operator=(const MemoryCgroup&) = delete;

  /// Empty: it is there.
  [[nodiscard]] const std::string& why_not() const noexcept { return why_not_; }
  bool set_limit(std::uint64_t bytes) const {
    return write(path_ + (version_ == 1 ? "/memory.limit_in_bytes" : "/memory.max"), std::to_string(bytes));
  }
  /// A program that runs another in the group, with the arguments that it is given itself.
  [[nodiscard]] std::string program(const TemporaryDirectory& place, const std::string& run) const {
    const std::string path =
        place.write("in-cgroup", "#!/bin/sh\necho $$ > '" + path_ + "/cgroup.procs' && exec '" + run + "' \"$@\"\n");
    (void)::chmod(path.c_str(), 0755);
    return path;
  }
  /// How many processes of it the kernel has killed because it was full.
  [[nodiscard]] std::uint64_t killed() const {
    std::ifstream in(path_ + (version_ == 1 ? "/memory.oom_control" : "/memory.events"));
    for (std::string key; in >> key;) {
      std::uint64_t value = 0;
      in >> value;
      if (key == "oom_kill") return value;
    }
    return 0;
  }

 private:
  static bool write(const std::string& path, const std::string& text) {
    std::ofstream out(path);
    out << text << std::flush;
    return out.good();
  }
  void lack(std::string why) {
    why_not_ = std::move(why);
    if (!path_.empty()) ::rmdir(path_.c_str());
    path_.clear();
  }
  int version_ = 0;
  std::string path_;
  std::string why_not_;
};

}  // namespace fiberd::test

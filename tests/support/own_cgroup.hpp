#pragma once
// A control group of the test's own, of version 1 or 2, whichever the machine has, and programs that run in it. Not
// everywhere may one be made: in most containers, and as another user than root, not.
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <fstream>
#include <string>
#include <utility>

#include "core/runtime/cgroup.hpp"
#include "tests/support/daemon.hpp"

namespace fiberd::test {

class OwnCgroup {
 public:
  explicit OwnCgroup(const std::string& controller) {
    static std::atomic<unsigned> next{0};
    bool unsure = false;
    const auto own = runtime::find_cgroup(controller, {}, unsure);
    if (!own) {
      why_not_ = "no " + controller + " control group is mounted";
      return;
    }
    version_ = own->version;
    // Version 2: a group with processes can have no groups with limits below it, so beside all others, at the mount.
    const std::string above = version_ == 1 ? own->directory : own->mount;
    const std::string path =
        above + "/fiberd-test-" + std::to_string(::getpid()) + "-" + std::to_string(next.fetch_add(1));
    if (version_ == 2 && !write_to(above + "/cgroup.subtree_control", "+" + controller))
      why_not_ = controller + " limits cannot be set below " + above;
    else if (::mkdir(path.c_str(), 0755) != 0)
      why_not_ = "no control group can be made in " + above;
    else
      path_ = path;
  }
  ~OwnCgroup() {
    // What ran in it has ended and is being forgotten.
    if (!path_.empty()) (void)eventually([&] { return ::rmdir(path_.c_str()) == 0; });
  }
  OwnCgroup(const OwnCgroup&) = delete;
  OwnCgroup& operator=(const OwnCgroup&) = delete;

  /// Empty: it is there.
  [[nodiscard]] const std::string& why_not() const noexcept { return why_not_; }
  [[nodiscard]] int version() const noexcept { return version_; }
  /// The file as version 1 calls it, or as version 2 does. When it cannot be written, why_not() says so.
  void set(const std::string& v1, const std::string& v2, const std::string& text1, const std::string& text2) {
    if (path_.empty()) return;
    const std::string file = path_ + "/" + (version_ == 1 ? v1 : v2);
    if (!write_to(file, version_ == 1 ? text1 : text2)) why_not_ = file + " cannot be written";
  }
  /// The number behind `key`; 0 when there is none.
  [[nodiscard]] std::uint64_t count(const std::string& file, const std::string& key) const {
    std::ifstream in(path_ + "/" + file);
    std::uint64_t value = 0;
    for (std::string name; in >> name >> value;)
      if (name == key) return value;
    return 0;
  }
  /// A program that runs another in the group, with the arguments that it is given itself.
  [[nodiscard]] std::string program(const TemporaryDirectory& place, const std::string& run) const {
    const std::string path =
        place.write("in-cgroup", "#!/bin/sh\necho $$ > '" + path_ + "/cgroup.procs' && exec '" + run + "' \"$@\"\n");
    (void)::chmod(path.c_str(), 0755);
    return path;
  }

 private:
  static bool write_to(const std::string& path, const std::string& text) {
    std::ofstream out(path);
    out << text << std::flush;
    return out.good();
  }
  int version_ = 0;
  std::string path_;
  std::string why_not_;
};

}  // namespace fiberd::test

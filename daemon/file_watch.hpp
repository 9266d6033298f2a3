#pragma once
// FileWatch: tells when one of some files may have become another. By inotify, on directories and not on the files
// alone: editors, package managers and Kubernetes' volumes put a new file, or a new link, under the old name, and what
// watches the old file sees nothing of it. So for each name all that decides what it means is watched: the directory in
// which its last part stands, that of each symbolic link on the way (a ConfigMap's `..data` is such a link), where a
// directory is missing the one above it, each directory on the way for whether it is moved (a release that is put in
// the place of the one before), and the file itself for who writes into it (a file that is mounted by itself).
//
// What an event says is not asked but whether its name is one of those: the rest of a busy directory wakes nobody for
// long, and who wants to know what has changed has to look.
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "core/base/result.hpp"
#include "core/runtime/poll_descriptor.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::daemon {

/// One name to watch: a path, or a pattern of glob(7) below a directory whose characters stand for themselves.
struct WatchedName {
  std::string directory;  ///< "" or "/…/": as it is
  std::string pattern;    ///< below it
  bool operator==(const WatchedName&) const = default;
};

/// What has to be watched for a name, found by going its way: directories with the names in them that matter, and
/// files.
class WatchTargets {
 public:
  static constexpr std::size_t kMostLinks = 40;  ///< of one name, as the kernel's
  static constexpr std::size_t kMostDirectories = 4096;

  /// Blocks the thread: it looks at the file system.
  void add(const WatchedName& name);
  /// Patterns of fnmatch(3) by directory; of one that is only gone through none.
  [[nodiscard]] const std::map<std::string, std::set<std::string>>& directories() const noexcept {
    return directories_;
  }
  [[nodiscard]] const std::set<std::string>& files() const noexcept { return files_; }

 private:
  void walk(std::string at, std::vector<std::string> parts, std::size_t links);
  std::map<std::string, std::set<std::string>> directories_;
  std::set<std::string> files_;
};

/// Not thread-safe: of one fiber.
class FileWatch {
 public:
  FileWatch() = default;
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  struct Armed {
    bool fresh = false;       ///< something is watched that was not: look once more, it may have changed before
    std::size_t watches = 0;  ///< that there are
    std::error_code
        error{};  ///< why not all is watched; too_many_files_open: no instance, no_space_on_device: no watch
  };
  /// Watches `targets` and nothing else. Blocks the thread. What cannot be watched is left out and told.
  [[nodiscard]] Armed arm(const WatchTargets& targets);

  /// Parks until something relevant has happened. Errors: timed_out, operation_canceled; bad_file_descriptor: nothing
  /// is watched at all; what epoll_ctl says.
  [[nodiscard]] Result<void> wait(Deadline deadline, runtime::Cancellation& cancellation);
  /// Takes what has happened so far, without waiting; whether any of it is relevant.
  [[nodiscard]] bool drain();
  /// Until `over`: calls `look`, on a thread that may wait, at once and whenever what has happened has come to rest
  /// (after 250 ms of quiet, or a second). It arms what it looks at, and says whether all is watched: if not, and when
  /// it threw, which `failed` is told, it is called again a minute later. On a fiber; throws nothing.
  void follow(runtime::CancelSource& over, const std::function<bool()>& look,
              const std::function<void(const std::exception&)>& failed);

 private:
  [[nodiscard]] bool is_relevant(int watch, std::uint32_t mask, const char* name) const;

  int fd_ = -1;
  runtime::PollDescriptor* descriptor_ = nullptr;
  std::map<int, std::set<std::string>> watches_;  // patterns; of a file none
};

}  // namespace fiberd::daemon

#pragma once
// Child: a process that was started, as this one's child or as its brother.
//
// A service manager waits for its own children alone: a main process that somebody else has started is ended by SIGTERM
// and SIGKILL in one, for nobody would tell it of the end (systemd: "which is not our child"). So where one manages us
// the process that is to follow has our parent for its own (CLONE_PARENT). It is watched by a descriptor of its own
// then (pidfd_open(2)), and how it ended is the kernel's to tell (since Linux 6.15: PIDFD_GET_INFO), since only a
// parent may wait. A parent that knows nothing of all this (a shell, a test) gets no child that it has not started.
#include <sys/types.h>

#include <string>
#include <vector>

#include "daemon/inherited_sockets.hpp"

namespace fiberd::daemon::upgrade {

/// What is started: with the signals' defaults, an empty mask, and nothing open but the standard descriptors and
/// `kept`.
struct Launch {
  std::string path;
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  int kept = -1;
};

class Child {
 public:
  Child() = default;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Whether our parent is a service manager that waits for its children, as `notified` (it is told what we do) and the
  /// environment say.
  [[nodiscard]] static bool parent_is_manager(bool notified) noexcept;

  /// Once. `brother`: it is our parent's child. 0, or an error number. On a thread that may wait; throws
  /// std::bad_alloc.
  [[nodiscard]] int start(Launch launch, bool brother);
  /// 0: there is none.
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] bool is_brother() const noexcept { return watched_.get() >= 0; }
  void signal(int signo) const noexcept;
  /// Looks, never waits. True: it is not there any more, and pid() is 0; `how` says what it came to, for people:
  /// "exit code 2".
  [[nodiscard]] bool ended(std::string& how);
  /// It is on its own.
  void let_go() noexcept;

 private:
  pid_t pid_ = 0;
  OwnedDescriptor watched_;   // of a brother
  std::int64_t dead_at_ = 0;  // when a brother was seen to be (monotonic ns); how is known when its parent has waited
};

}  // namespace fiberd::daemon::upgrade

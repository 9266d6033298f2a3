#pragma once
// Notifier: what the daemon tells the service manager that started it (systemd's notification protocol, sd_notify(3)):
// one datagram of lines NAME=VALUE to the Unix socket that NOTIFY_SOCKET names. Why not libsystemd:
// docs/adr/0018-own-sd-notify.md.
#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace fiberd::daemon {

/// Thread-safe. Without a manager nothing is sent, and every call succeeds at nothing.
class Notifier {
 public:
  /// Descriptors of one message: the kernel takes no more (SCM_MAX_FD).
  static constexpr std::size_t kMostDescriptors = 253;
  /// Bytes of one message: systemd reads no more.
  static constexpr std::size_t kMostBytes = 4096;

  /// By NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, which it takes out of the environment: a process that we start
  /// is not to speak in our name, nor to look at our watchdog. Before there are other threads.
  [[nodiscard]] static Notifier from_environment();
  /// `address`: a path, or '@' and an abstract name; empty: there is no manager. `watchdog`: after how long without a
  /// sign of life it takes us for dead; 0: never.
  explicit Notifier(std::string address, std::chrono::microseconds watchdog = {});
  ~Notifier();
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  /// Sends `state`, lines "NAME=VALUE" with '\n' between them. Error: it was not sent; the first one is logged with its
  /// remedy, the others are not. Waits for a manager that does not read for kPatience at most.
  std::error_code notify(std::string_view state) noexcept;
  /// The same with descriptors, which the manager gets copies of ("FDSTORE=1\nFDNAME=web"). Error: also
  /// argument_list_too_long, of more than kMostDescriptors.
  std::error_code notify_with_fds(std::string_view state, std::span<const int> fds) noexcept;
  /// Another process of the unit is its main process from now on: it must be told by the one that has been so far, for
  /// nobody else is heard (NotifyAccess=main).
  std::error_code main_pid(pid_t pid) noexcept;

  /// Waits until the manager has acted on all that was sent before, `most` at most. Error: it has not, or does not say.
  /// On a thread that may wait.
  std::error_code barrier(std::chrono::milliseconds most) noexcept;

  /// Whether there is a manager to tell.
  [[nodiscard]] bool enabled() const noexcept { return !address_.empty(); }
  /// NOTIFY_SOCKET of the process that is to take over from us; empty: none.
  [[nodiscard]] const std::string& address() const noexcept { return address_; }
  /// WATCHDOG_USEC: how long the manager waits for WATCHDOG=1; 0: it does not.
  [[nodiscard]] std::chrono::microseconds watchdog() const noexcept { return watchdog_; }

  static constexpr std::chrono::milliseconds kPatience{100};

 private:
  std::error_code send(std::string_view state, std::span<const int> fds) noexcept;
  void complain(std::error_code error) noexcept;
  const std::string address_;
  const std::chrono::microseconds watchdog_;
  int socket_ = -1;  // kept, for later there may be no descriptor to be had; the address is looked up each time
  std::error_code unopened_{};  // why there is no socket
  std::atomic<bool> complained_{false};
};

/// A value of the environment as the manager has it; empty: it is not there.
struct WatchdogSetting {
  std::string_view usec;
  std::string_view pid;
};
/// What they mean for this process; nullopt: usec is no number above 0. Of another process's (pid): 0.
[[nodiscard]] std::optional<std::chrono::microseconds> watchdog_of(const WatchdogSetting& setting, pid_t own) noexcept;

/// `text` as a value: one line, of printable UTF-8, 512 bytes at most.
[[nodiscard]] std::string status_text(std::string_view text);

}  // namespace fiberd::daemon

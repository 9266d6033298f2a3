#include "daemon/notify.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/base/printable.hpp"
#include "core/base/utf8.hpp"

namespace fiberd::daemon {

namespace {

std::error_code last_error() noexcept { return {errno, std::system_category()}; }

/// The value, which is then not in the environment any more.
std::string take(const char* name) {
  const char* const value = std::getenv(name);
  std::string text = value == nullptr ? "" : value;
  (void)::unsetenv(name);
  return text;
}

/// 0: it is no address.
socklen_t address_of(std::string_view name, sockaddr_un& to) noexcept {
  to.sun_family = AF_UNIX;
  const bool abstract = name.starts_with('@');
  // A path needs the 0 behind it, an abstract name has one in front.
  if (name.size() < 2 || (!abstract && name[0] != '/') || name.size() + (abstract ? 0 : 1) > sizeof to.sun_path)
    return 0;
  std::copy(name.begin(), name.end(), std::begin(to.sun_path));
  if (abstract) to.sun_path[0] = '\0';
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + (abstract ? 0 : 1));
}

template <class Number>
bool parse(std::string_view text, Number& number) noexcept {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::optional<std::chrono::microseconds> watchdog_of(const WatchdogSetting& setting, pid_t own) noexcept {
  using Count = std::chrono::microseconds::rep;
  if (setting.usec.empty()) return std::chrono::microseconds(0);
  Count usec = 0;
  if (!parse(setting.usec, usec) || usec <= 0) return std::nullopt;
  pid_t pid = 0;
  if (!setting.pid.empty() && (!parse(setting.pid, pid) || pid != own)) return std::chrono::microseconds(0);
  return std::chrono::microseconds(usec);
}

std::string status_text(std::string_view text) {
  static constexpr std::size_t kMost = 512;
  // The manager throws a status away that is no UTF-8: nor is one whose last character was cut through.
  std::string line = is_utf8(text) ? in_one_line(text) : printable(text, kMost);
  line.resize(utf8_cut(line, kMost));
  return line;
}

Notifier Notifier::from_environment() {
  const std::string usec = take("WATCHDOG_USEC");
  const std::string pid = take("WATCHDOG_PID");
  const auto watchdog = watchdog_of({usec, pid}, ::getpid());
  if (!watchdog)
    log(LogLevel::warning, "WATCHDOG_USEC=" + printable(usec, 64) + " is no number of microseconds: it is ignored");
  return Notifier(take("NOTIFY_SOCKET"), watchdog.value_or(std::chrono::microseconds(0)));
}

Notifier::Notifier(std::string address, std::chrono::microseconds watchdog)
    : address_(std::move(address)), watchdog_(address_.empty() ? std::chrono::microseconds(0) : watchdog) {
  if (address_.empty()) return;
  socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket_ < 0) unopened_ = last_error();
}

Notifier::~Notifier() {
  if (socket_ >= 0) ::close(socket_);
}

std::error_code Notifier::notify(std::string_view state) noexcept { return notify_with_fds(state, {}); }

std::error_code Notifier::notify_with_fds(std::string_view state, std::span<const int> fds) noexcept {
  if (!enabled()) return {};
  if (fds.size() > kMostDescriptors) return std::make_error_code(std::errc::argument_list_too_long);
  const std::error_code error = send(state, fds);
  if (error) complain(error);
  return error;
}

std::error_code Notifier::main_pid(pid_t pid) noexcept {
  std::array<char, 32> text{"MAINPID="};
  const auto [end, error] = std::to_chars(text.data() + 8, text.data() + text.size(), pid);
  return notify({text.data(), static_cast<std::size_t>(end - text.data())});
}

/// sd_notify_barrier(3): it closes the end of a pipe that it gets when it has come to this message.
std::error_code Notifier::barrier(std::chrono::milliseconds most) noexcept {
  if (!enabled()) return {};
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return last_error();
  std::error_code error = notify_with_fds("BARRIER=1", {&ends[1], 1});
  ::close(ends[1]);
  const std::int64_t until = monotonic_now() + std::chrono::nanoseconds(most).count();
  while (!error) {
    pollfd wait{ends[0], POLLIN, 0};
    const std::int64_t left = std::max<std::int64_t>((until - monotonic_now() + 999'999) / 1'000'000, 0);
    const int ready = ::poll(&wait, 1, static_cast<int>(left));
    if (ready > 0) break;
    if (ready == 0) error = std::make_error_code(std::errc::timed_out);
    if (ready < 0 && errno != EINTR) error = last_error();
  }
  ::close(ends[0]);
  return error;
}

std::error_code Notifier::send(std::string_view state, std::span<const int> fds) noexcept {
  sockaddr_un to{};
  const socklen_t size = address_of(address_, to);
  if (size == 0) return std::make_error_code(std::errc::invalid_argument);
  if (socket_ < 0) return unopened_;
  if (state.size() > kMostBytes) return std::make_error_code(std::errc::message_size);
  iovec text{const_cast<char*>(state.data()), state.size()};
  msghdr message{};
  message.msg_name = &to;
  message.msg_namelen = size;
  message.msg_iov = &text;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostDescriptors * sizeof(int))> control{};
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
  }
  const std::int64_t until = monotonic_now() + std::chrono::nanoseconds(kPatience).count();
  for (;;) {
    if (::sendmsg(socket_, &message, MSG_NOSIGNAL) >= 0) return {};
    const std::error_code error = last_error();
    if (error == std::errc::interrupted) continue;
    // Its queue is full. Without a connection poll(2) does not say when there is room.
    if (error != std::errc::resource_unavailable_try_again && error != std::errc::no_buffer_space) return error;
    if (monotonic_now() >= until) return error;
    const timespec moment{0, 1'000'000};
    (void)::nanosleep(&moment, nullptr);
  }
}

void Notifier::complain(std::error_code error) noexcept {
  if (complained_.exchange(true, std::memory_order_relaxed)) return;
  try {
    const bool absent = error == std::errc::no_such_file_or_directory || error == std::errc::connection_refused;
    const std::string remedy = absent ? "nobody listens there: unset it, or start fiberd by its service manager"
                               : error == std::errc::invalid_argument
                                   ? "no path of a Unix socket, and no @name: unset it"
                               : error == std::errc::permission_denied ? "the user of this process may not write to it"
                                                                       : error.message();
    log(LogLevel::warning, "NOTIFY_SOCKET=" + printable(address_, 128) + ": " + remedy +
                               "; the service manager is not told that fiberd serves, which goes on without");
  } catch (const std::bad_alloc&) {
    log(LogLevel::warning, "the service manager cannot be told that fiberd serves, which goes on without");
  }
}

}  // namespace fiberd::daemon

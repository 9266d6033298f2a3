#include "daemon/upgrade/channel.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/base/clock.hpp"

namespace fiberd::daemon::upgrade {

std::string_view Message::word() const noexcept { return std::string_view(text).substr(0, text.find(' ')); }
std::string_view Message::rest() const noexcept {
  const std::size_t blank = text.find(' ');
  return blank == std::string::npos ? std::string_view() : std::string_view(text).substr(blank + 1);
}

Result<void> Channel::make(Channel& one, Channel& other) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) return fail_errno(-errno);
  one = Channel(OwnedDescriptor(ends[0]));
  other = Channel(OwnedDescriptor(ends[1]));
  return {};
}

/// Milliseconds for poll(2), none of them lost.
static int left_until(std::int64_t until) noexcept {
  static constexpr std::int64_t kMost = 3'600'000;
  return static_cast<int>(std::clamp<std::int64_t>((until - monotonic_now() + 999'999) / 1'000'000, 0, kMost));
}

Result<void> Channel::send(std::string_view text, std::span<const int> descriptors) const noexcept {
  static constexpr std::int64_t kPatience = 1'000'000'000;
  text = text.substr(0, kLongest);
  iovec part{const_cast<char*>(text.data()), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kDescriptors)> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    if (descriptors.size() > kDescriptors) return fail(std::errc::invalid_argument);
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
  }
  for (const std::int64_t until = monotonic_now() + kPatience;;) {
    if (::sendmsg(end_.get(), &message, MSG_NOSIGNAL) >= 0) return {};
    if (errno == EINTR) continue;
    if (errno != EAGAIN)
      return fail(errno == ECONNRESET ? std::error_code(EPIPE, std::system_category())
                                      : std::error_code(errno, std::system_category()));
    pollfd wait{end_.get(), POLLOUT, 0};
    if (::poll(&wait, 1, left_until(until)) == 0) return fail(std::errc::timed_out);
  }
}

Result<Message> Channel::receive(std::int64_t until) const {
  for (;;) {
    pollfd wait{end_.get(), POLLIN, 0};
    const int ready = ::poll(&wait, 1, left_until(until));
    if (ready < 0 && errno != EINTR) return fail_errno(-errno);
    if (ready == 0) return fail(std::errc::timed_out);
    if (ready < 0) continue;
    Message message;
    message.text.resize(kLongest);
    iovec part{message.text.data(), message.text.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kDescriptors)> control{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    const ssize_t n = ::recvmsg(end_.get(), &header, MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    for (cmsghdr* c = n < 0 ? nullptr : CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < count; ++i) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
        message.descriptors.emplace_back(fd);
      }
    }
    if (n <= 0) return fail(std::errc::broken_pipe);
    // What did not fit is lost, with the descriptors in it.
    if ((header.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0) return fail(std::errc::message_size);
    message.text.resize(static_cast<std::size_t>(n));
    return message;
  }
}

}  // namespace fiberd::daemon::upgrade

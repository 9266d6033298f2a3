#include "tests/support/notify_socket.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>

namespace fiberd::test {

NotifySocket::NotifySocket(std::string address) : address_(std::move(address)) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::copy(address_.begin(), address_.end(), std::begin(name.sun_path));
  const bool abstract = address_.front() == '@';
  if (abstract) name.sun_path[0] = '\0';
  fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size() + (abstract ? 0 : 1));
  if (fd_ < 0 || ::bind(fd_, reinterpret_cast<const sockaddr*>(&name), size) != 0)
    throw std::runtime_error("no notification socket at " + address_);
}

NotifySocket::~NotifySocket() {
  ::close(fd_);
  if (address_.front() == '/') ::unlink(address_.c_str());
}

std::string NotifySocket::next(std::vector<int>* fds, std::chrono::milliseconds within) const {
  pollfd ready{fd_, POLLIN, 0};
  if (::poll(&ready, 1, static_cast<int>(within.count())) <= 0) return {};
  std::array<char, 8192> text{};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(253 * sizeof(int))> control{};
  iovec into{text.data(), text.size()};
  msghdr message{};
  message.msg_iov = &into;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t n = ::recvmsg(fd_, &message, MSG_CMSG_CLOEXEC);
  if (n < 0) return {};
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    std::vector<int> got((part->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    std::memcpy(got.data(), CMSG_DATA(part), got.size() * sizeof(int));
    for (const int fd : got) {
      if (fds != nullptr)
        fds->push_back(fd);
      else
        ::close(fd);
    }
  }
  return {text.data(), static_cast<std::size_t>(n)};
}

std::string NotifySocket::await(const std::string& what, std::chrono::milliseconds within) const {
  const auto until = std::chrono::steady_clock::now() + within;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0) return {};
    if (std::string text = next(nullptr, left); text.find(what) != std::string::npos) return text;
  }
}

}  // namespace fiberd::test

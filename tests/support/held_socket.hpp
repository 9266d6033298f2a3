#pragma once
// A listening socket of the test's own, as a service manager holds one for the daemon.
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <system_error>

namespace fiberd::test {

inline sockaddr_un unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

class HeldSocket {
 public:
  /// On a free port of the loopback; SOCK_DGRAM: UDP.
  explicit HeldSocket(int type = SOCK_STREAM) : fd_(::socket(AF_INET, type | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind_to(reinterpret_cast<const sockaddr*>(&address), sizeof address, type);
    socklen_t size = sizeof address;
    if (::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) != 0) give_up("getsockname");
    port_ = ntohs(address.sin_port);
  }
  /// A Unix socket.
  explicit HeldSocket(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const sockaddr_un address = unix_address(path);
    bind_to(reinterpret_cast<const sockaddr*>(&address), sizeof address, SOCK_STREAM);
  }
  ~HeldSocket() { ::close(fd_); }
  HeldSocket(const HeldSocket&) = delete;
  HeldSocket& operator=(const HeldSocket&) = delete;
  [[nodiscard]] int fd() const noexcept { return fd_; }
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }

 private:
  [[noreturn]] static void give_up(const char* what) { throw std::system_error(errno, std::system_category(), what); }
  void bind_to(const sockaddr* address, socklen_t size, int type) const {
    if (fd_ < 0 || ::bind(fd_, address, size) != 0) give_up("bind");
    if (type == SOCK_STREAM && ::listen(fd_, 512) != 0) give_up("listen");
  }
  int fd_;
  std::uint16_t port_ = 0;
};

}  // namespace fiberd::test

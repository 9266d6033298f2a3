#include "daemon/reload_command.hpp"

#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string_view>
#include <system_error>

#include "core/net/endpoint.hpp"
#include "daemon/admin/admin_token.hpp"
#include "daemon/exit_code.hpp"

namespace fiberd::daemon {

namespace {

class Socket {
 public:
  explicit Socket(int family) noexcept : fd_(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

int failed(const std::string& address, const char* what) {
  std::fprintf(stderr, "reload: %s: %s %s\n", address.c_str(), what,
               std::error_code(errno, std::system_category()).message().c_str());
  return static_cast<int>(ExitCode::runtime_failure);
}

/// All that comes until the daemon closes; false: an error. At most a megabyte: what is wrong with a configuration.
bool read_answer(int fd, std::string& answer) {
  static constexpr std::size_t kMost = std::size_t{1} << 20U;
  char buffer[4096];
  while (answer.size() < kMost) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n == 0;
    answer.append(buffer, static_cast<std::size_t>(n));
  }
  return true;
}

/// Nobody is there, or not for us.
int unreachable(const ReloadRequest& request) {
  const int error = errno;
  const bool unix_socket = request.address.starts_with("unix:");
  std::string hint;
  if (error == EACCES || error == EPERM) {
    hint = unix_socket ? ": who asks needs the right to write to that socket (admin.owner, admin.mode)" : "";
  } else if (error != ECONNREFUSED && error != ENOENT) {
    hint = ": it does not take the connection";
  } else if (unix_socket && !request.address.starts_with("unix:/")) {
    hint =
        ": a path that is relative to where the daemon was started; ask from there, or say the whole of it: --address";
  } else if (request.source == ReloadRequest::by_default) {
    hint = ": where the admin listener is by default; say where yours is, by --address or by its configuration file";
  } else if (request.source == ReloadRequest::in_file) {
    hint = ": no admin listener where the file says; if the file moves it, name the address before: --address";
  } else {
    hint = ": no admin listener there";
  }
  std::fprintf(stderr, "reload: %s: %s%s\n", request.address.c_str(),
               std::error_code(error, std::system_category()).message().c_str(), hint.c_str());
  return static_cast<int>(ExitCode::runtime_failure);
}

}  // namespace

int reload_by_admin(const ReloadRequest& request) {
  const std::string& address = request.address;
  static constexpr timeval kPatience{60, 0};
  std::string reachable = address;
  if (reachable.starts_with("0.0.0.0:")) reachable.replace(0, 7, "127.0.0.1");
  if (reachable.starts_with("[::]:")) reachable.replace(0, 4, "[::1]");
  const Result<net::Endpoint> endpoint = net::Endpoint::parse(reachable);
  if (!endpoint) {
    std::fprintf(stderr, "reload: %s is no numeric address with a port, nor unix:/path\n", address.c_str());
    return static_cast<int>(ExitCode::bad_usage);
  }
  http::Secret authorization;
  if (!request.token_file.empty()) {
    std::string why;
    const auto token = read_token(request.token_file, why);
    if (!token) {
      std::fprintf(stderr, "reload: the token: %s\n", why.c_str());
      return static_cast<int>(ExitCode::bad_usage);
    }
    authorization = http::Secret("Authorization: Bearer " + (*token)->text() + "\r\n");
  }
  const Socket socket(endpoint->family());
  if (socket.fd() < 0) return failed(address, "no socket:");
  (void)::setsockopt(socket.fd(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  (void)::setsockopt(socket.fd(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
  if (::connect(socket.fd(), endpoint->data(), endpoint->size()) != 0) return unreachable(request);
  const http::Secret whole(
      "POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(request.file.size()) + "\r\n" +
      authorization.text() + "Connection: close\r\n\r\n" + request.file);
  const std::string& message = whole.text();
  if (::send(socket.fd(), message.data(), message.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(message.size()))
    return failed(address, "it cannot be asked:");
  std::string answer;
  if (!read_answer(socket.fd(), answer)) return failed(address, "no answer:");
  const std::size_t head = answer.find("\r\n\r\n");
  const std::string_view status = std::string_view(answer).substr(0, answer.find('\r'));
  if (!status.starts_with("HTTP/1.1 ") || head == std::string::npos) {
    std::fprintf(stderr, "reload: %s: what answers there is no fiberd\n", address.c_str());
    return static_cast<int>(ExitCode::runtime_failure);
  }
  const bool done = status.substr(9, 3) == "200";
  std::fputs(answer.c_str() + head + 4, done ? stdout : stderr);
  if (done) return std::fflush(stdout) == 0 ? 0 : static_cast<int>(ExitCode::runtime_failure);
  if (status.substr(9, 3) == "401")
    std::fputs(request.token_file.empty() ? "reload: name the token's file: --token-file\n"
                                          : "reload: the daemon has another token\n",
               stderr);
  const bool refused = status.substr(9, 3) == "422" || status.substr(9, 3) == "409" || status.substr(9, 3) == "401";
  return static_cast<int>(refused ? ExitCode::bad_usage : ExitCode::runtime_failure);
}

}  // namespace fiberd::daemon

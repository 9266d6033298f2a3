#include "daemon/admin_client.hpp"

#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <system_error>
#include <utility>

#include "core/base/characters.hpp"
#include "core/base/clock.hpp"
#include "core/http/filters/basic_credentials.hpp"
#include "core/net/endpoint.hpp"
#include "daemon/admin/admin_token.hpp"

namespace fiberd::daemon {

namespace {

using What = AdminFailure::What;

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

AdminOutcome failed(What what, int error = 0) { return {std::nullopt, {what, error, {}}}; }

bool send_all(int fd, std::string_view message) noexcept {
  while (!message.empty()) {
    const ssize_t n = ::send(fd, message.data(), message.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    message.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

void set_limit(int fd, int which, std::chrono::microseconds limit) noexcept {
  const timeval time{static_cast<time_t>(limit.count() / 1'000'000),
                     static_cast<suseconds_t>(limit.count() % 1'000'000)};
  (void)::setsockopt(fd, SOL_SOCKET, which, &time, sizeof time);
}

/// What a socket with a limit of time says when that is over is no word for people.
int why_failed() noexcept { return errno == EAGAIN || errno == EINPROGRESS ? ETIMEDOUT : errno; }

/// All that comes until the daemon closes, or the time is over.
std::optional<AdminFailure> read_all(int fd, std::size_t most, std::int64_t until, std::string& answer) {
  char buffer[16 * 1024];
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::nanoseconds(until - monotonic_now()));
    if (left.count() <= 0) return AdminFailure{What::no_answer, ETIMEDOUT, {}};
    set_limit(fd, SO_RCVTIMEO, left);
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return AdminFailure{What::no_answer, why_failed(), {}};
    if (n == 0) return std::nullopt;
    answer.append(buffer, static_cast<std::size_t>(n));
    if (answer.size() > most) return AdminFailure{What::too_long, 0, {}};
  }
}

/// Of the head's lines, if there is one that can be read.
std::optional<std::size_t> content_length(std::string_view head) noexcept {
  static constexpr std::string_view kName = "content-length:";
  for (std::size_t line = head.find("\r\n"); line != std::string_view::npos; line = head.find("\r\n", line + 2)) {
    std::string_view rest = head.substr(line + 2);
    if (rest.size() < kName.size() || !ascii::equals_lower(rest.substr(0, kName.size()), kName)) continue;
    rest.remove_prefix(kName.size());
    while (rest.starts_with(' ')) rest.remove_prefix(1);
    std::size_t length = 0;
    if (std::from_chars(rest.data(), rest.data() + rest.size(), length).ec == std::errc()) return length;
  }
  return std::nullopt;
}

}  // namespace

AdminOutcome ask_admin(const AdminRequest& request) {
  std::string reachable = request.address;
  if (reachable.starts_with("0.0.0.0:")) reachable.replace(0, 7, "127.0.0.1");
  if (reachable.starts_with("[::]:")) reachable.replace(0, 4, "[::1]");
  const Result<net::Endpoint> endpoint = net::Endpoint::parse(reachable);
  if (!endpoint) return failed(What::no_address);
  http::Secret authorization;
  if (!request.token_file.empty()) {
    std::string why;
    const auto token = read_token(request.token_file, why);
    if (!token) return {std::nullopt, {What::no_token, 0, std::move(why)}};
    authorization = http::Secret("Authorization: Bearer " + (*token)->text() + "\r\n");
  }
  const Socket socket(endpoint->family());
  if (socket.fd() < 0) return failed(What::no_socket, errno);
  set_limit(socket.fd(), SO_SNDTIMEO, request.patience);
  if (::connect(socket.fd(), endpoint->data(), endpoint->size()) != 0) return failed(What::unreachable, why_failed());
  // HTTP/1.0: an answer whose length is not known ends with the connection, and is in no chunks.
  const http::Secret message(
      std::string(request.method) + " " + request.target + " HTTP/1.0\r\nHost: localhost\r\n" + authorization.text() +
      (request.method == "POST" ? "Content-Length: " + std::to_string(request.body.size()) + "\r\n" : std::string()) +
      "\r\n" + request.body);
  if (!send_all(socket.fd(), message.text())) return failed(What::not_asked, why_failed());
  std::string text;
  bool cut = false;
  const std::int64_t until = monotonic_now() + std::chrono::nanoseconds(request.patience).count();
  if (const auto failure = read_all(socket.fd(), request.most_bytes, until, text)) {
    cut = failure->what == What::too_long && request.cut;
    if (!cut) return {std::nullopt, *failure};
  }
  const std::size_t head = text.find("\r\n\r\n");
  static constexpr std::string_view kVersion = "HTTP/1.";
  AdminAnswer answer;
  if (text.empty()) return failed(What::no_answer, ECONNRESET);
  if (head == std::string::npos || !text.starts_with(kVersion) || text.size() < 12 || text[8] != ' ' ||
      std::from_chars(text.data() + 9, text.data() + 12, answer.status).ptr != text.data() + 12)
    return failed(What::no_fiberd);
  const std::optional<std::size_t> length = content_length(std::string_view(text).substr(0, head));
  answer.body = text.substr(head + 4);
  if (!cut && length && *length != answer.body.size()) return failed(What::no_answer, ECONNRESET);
  return {std::move(answer), {}};
}

std::string describe_failure(const AdminRequest& request, const AdminFailure& failure, AddressSource source) {
  const std::string& address = request.address;
  const std::string error =
      failure.error != 0 ? " " + std::error_code(failure.error, std::system_category()).message() : std::string();
  switch (failure.what) {
    case What::no_address: return address + " is no numeric address with a port, nor unix:/path";
    case What::no_token: return "the token: " + failure.why;
    case What::no_socket: return address + ": no socket:" + error;
    case What::not_asked: return address + ": it cannot be asked:" + error;
    case What::no_answer: return address + ": no answer:" + error;
    case What::too_long:
      return address + ": its answer is longer than " + std::to_string(request.most_bytes) + " bytes";
    case What::no_fiberd: return address + ": what answers there is no fiberd";
    case What::unreachable: break;
  }
  const bool unix_socket = address.starts_with("unix:");
  std::string hint;
  if (failure.error == EACCES || failure.error == EPERM) {
    hint = unix_socket ? ": who asks needs the right to write to that socket (admin.owner, admin.mode)" : "";
  } else if (failure.error != ECONNREFUSED && failure.error != ENOENT) {
    hint = ": it does not take the connection";
  } else if (unix_socket && !address.starts_with("unix:/")) {
    hint =
        ": a path that is relative to where the daemon was started; ask from there, or say the whole of it: --address";
  } else if (source == AddressSource::by_default) {
    hint = ": where the admin listener is by default; say where yours is, by --address or by its configuration file";
  } else if (source == AddressSource::in_file) {
    hint = ": no admin listener where the file says; if the file moves it, name the address before: --address";
  } else {
    hint = ": no admin listener there";
  }
  return address + ":" + error + hint;
}

}  // namespace fiberd::daemon

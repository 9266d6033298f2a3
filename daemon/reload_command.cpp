#include "daemon/reload_command.hpp"

#include <cstdio>

#include "daemon/exit_code.hpp"

namespace fiberd::daemon {

int reload_by_admin(const ReloadRequest& request) {
  const AdminRequest question{.address = request.address,
                              .method = "POST",
                              .target = "/reload",
                              .body = request.file,
                              .token_file = request.token_file};
  const AdminOutcome outcome = ask_admin(question);
  if (!outcome.answer) {
    std::fprintf(stderr, "reload: %s\n", describe_failure(question, outcome.failure, request.source).c_str());
    const bool usage =
        outcome.failure.what == AdminFailure::What::no_address || outcome.failure.what == AdminFailure::What::no_token;
    return static_cast<int>(usage ? ExitCode::bad_usage : ExitCode::runtime_failure);
  }
<<<<<<< HEAD
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
=======
  const unsigned status = outcome.answer->status;
  const bool done = status == 200;
  std::fputs(outcome.answer->body.c_str(), done ? stdout : stderr);
>>>>>>> views
  if (done) return std::fflush(stdout) == 0 ? 0 : static_cast<int>(ExitCode::runtime_failure);
  if (status == 401)
    std::fputs(request.token_file.empty() ? "reload: name the token's file: --token-file\n"
                                          : "reload: the daemon has another token\n",
               stderr);
  const bool refused = status == 422 || status == 409 || status == 401;
  return static_cast<int>(refused ? ExitCode::bad_usage : ExitCode::runtime_failure);
}

}  // namespace fiberd::daemon

#pragma once
// A running HTTP server on a free port of the loopback, and a client that speaks bytes. The client blocks its thread
// and knows nothing of the runtime, so it sees what any other program would see.
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "core/http/handlers.hpp"
#include "core/http/server.hpp"
#include "core/net/listener.hpp"
#include "core/runtime/runtime.hpp"
#include "tests/support/answer_reader.hpp"

namespace fiberd::test {

/// A handler out of a function.
class FunctionHandler final : public http::Handler {
 public:
  explicit FunctionHandler(std::function<Result<void>(http::Exchange&)> fn) : fn_(std::move(fn)) {}
  Result<void> serve(http::Exchange& exchange) override { return fn_(exchange); }

 private:
  std::function<Result<void>(http::Exchange&)> fn_;
};
inline std::shared_ptr<http::Handler> handler(std::function<Result<void>(http::Exchange&)> fn) {
  return std::make_shared<FunctionHandler>(std::move(fn));
}
inline http::Route route(std::string path, std::shared_ptr<http::Handler> handler,
                         std::vector<std::shared_ptr<http::Filter>> filters = {}) {
  http::Route made{.spec = {.path = std::move(path)}, .handler = std::move(handler)};
  made.filters = std::move(filters);
  return made;
}
/// Sends "first", and "second" when `go_on` is true, in chunks.
inline std::shared_ptr<http::Handler> streams_when(std::atomic<bool>& go_on) {
  return handler([&go_on](http::Exchange& ex) -> Result<void> {
    if (const auto sent = ex.begin({}); !sent) return sent;
    if (const auto sent = ex.write("first"); !sent) return sent;
    if (const auto sent = ex.flush(); !sent) return sent;
    while (!go_on) (void)runtime::sleep_for(std::chrono::milliseconds(1));
    if (const auto sent = ex.write("second"); !sent) return sent;
    return ex.end();
  });
}
inline std::shared_ptr<http::Handler> hello() {
  return *http::make_respond_handler({.content_type = "text/plain", .body = "hello"});
}

class HttpServer {
 public:
  explicit HttpServer(std::vector<http::Route> routes, http::ServerOptions options = {}, unsigned processors = 2,
                      net::ListenerOptions listener_options = {}) {
    auto runtime = runtime::Runtime::start({.gomaxprocs = processors});
    if (!runtime) throw std::system_error(runtime.error());
    runtime_ = std::move(*runtime);
    auto server = http::Server::make(std::move(options), std::move(routes));
    if (!server) throw std::system_error(server.error());
    server_ = std::move(*server);
    auto listener = net::Listener::bind(*runtime_, net::Endpoint::v4(0x7f000001, 0), std::move(listener_options));
    if (!listener) throw std::system_error(listener.error());
    listener_ = std::move(*listener);
    if (const std::error_code error = error_of(listener_->start(&http::Server::on_accept, server_.get(), true)))
      throw std::system_error(error);
  }
  ~HttpServer() { (void)stop(std::chrono::seconds(5)); }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// Returns how many connections had to be cut.
  std::size_t stop(std::chrono::nanoseconds within) {
    if (std::exchange(stopped_, true)) return 0;
    std::size_t cut = 0;
    runtime_->run([&] {
      listener_->stop();
      const std::atomic<std::int64_t> until{Deadline::in(within).ns()};
      cut = server_->stop(until);
    });
    return cut;
  }
  [[nodiscard]] std::uint16_t port() const noexcept { return listener_->local().port(); }
  [[nodiscard]] http::Server& server() noexcept { return *server_; }
  [[nodiscard]] net::Listener& listener() noexcept { return *listener_; }
  [[nodiscard]] runtime::Runtime& runtime() noexcept { return *runtime_; }

 private:
  // The fibers of the runtime use the server and the listener: it goes first.
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<net::Listener> listener_;
  std::unique_ptr<runtime::Runtime> runtime_;
  bool stopped_ = false;
};

class HttpClient : public AnswerReader {
 public:
  /// `receive_buffer` in bytes, 0: the kernel's. Every wait is bounded by `patience`.
  explicit HttpClient(std::uint16_t port, int receive_buffer = 0,
                      std::chrono::milliseconds patience = std::chrono::seconds(10)) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receive_buffer != 0) (void)::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    const int on = 1;
    (void)::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const timeval limit{patience.count() / 1000, patience.count() % 1000 * 1000};
    (void)::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    const net::Endpoint to = net::Endpoint::v4(0x7f000001, port);
    if (::connect(fd_, to.data(), to.size()) != 0) throw std::system_error(errno, std::system_category());
  }
  ~HttpClient() override { ::close(fd_); }

  /// False when the server does not take it (any more).
  bool send(std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  void finish_sending() override { (void)::shutdown(fd_, SHUT_WR); }

  /// Receives at least one more byte into rest().
  bool more() override {
    char data[65536];
    const ssize_t n = ::recv(fd_, data, sizeof data, 0);
    if (n > 0) {
      buffer_.append(data, static_cast<std::size_t>(n));
      ++reads_;
      return true;
    }
    if (n == 0) ended_ = true;
    if (n < 0) error_ = errno;
    return false;
  }
  [[nodiscard]] int fd() const noexcept { return fd_; }
  /// Segments that the kernel has received: an upper bound of the server's sends, and near it on the loopback.
  [[nodiscard]] unsigned data_segments() const {
    tcp_info info{};
    socklen_t size = sizeof info;
    (void)::getsockopt(fd_, IPPROTO_TCP, TCP_INFO, &info, &size);
    return info.tcpi_data_segs_in;
  }

 private:
  int fd_ = -1;
  unsigned reads_ = 0;
};

inline std::string get(std::string_view path, std::string_view fields = {}) {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: a.example\r\n" + std::string(fields) + "\r\n";
}

/// The same of the admin listener, which is asked by its address.
inline std::string get_admin(std::string_view path, std::string_view fields = {}) {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + std::string(fields) + "\r\n";
}

}  // namespace fiberd::test

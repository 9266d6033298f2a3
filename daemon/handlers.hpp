#pragma once
// Handlers: what a program of its own adds to the daemon, by name. The configuration says where each is served:
// `handler: NAME` in a route, `tcp: {handler: NAME}` in a listener, `filters: [NAME]` in either.
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "config/handlers.hpp"
#include "core/context/context.hpp"
#include "core/http/filter.hpp"
#include "core/http/handlers.hpp"
#include "core/net/tcp_stream.hpp"

namespace fiberd::daemon {

/// Serves the connections of one TCP listener. One object serves all of them at once, each on a fiber of its own, on
/// several threads: it must be const in effect or lock. The connection is closed when serve() returns. An exception
/// that leaves it is logged with the place that threw it, counted (fiberd_tcp_handler_exceptions_total), and ends the
/// connection only.
class TcpHandler {
 public:
  TcpHandler() = default;
  TcpHandler(const TcpHandler&) = delete;
  TcpHandler& operator=(const TcpHandler&) = delete;
  virtual ~TcpHandler() = default;
  /// `connection` is done when serve() has returned, when the client resets the connection (its cause is then
  /// connection_reset; a FIN only ends what can be read), and when a stop of the daemon has come to `shutdown.timeout`:
  /// pass it to every wait. At the beginning of a stop reading ends, as if the client had ended its side. `stream` may
  /// be closed, but it must not be moved from, nor used after serve() has returned.
  virtual void serve(const context::Context& connection, net::TcpStream& stream) = 0;
};

/// What a TCP handler may be made of: it is called with a const context::Context& and a net::TcpStream&.
template <class F>
concept TcpFunction = std::is_invocable_v < std::decay_t<F>
&, const context::Context&, net::TcpStream& > ;

template <class R>
concept OnStartResult = std::is_void_v<R> || std::is_convertible_v<R, Result<void>>;
/// What Daemon::on_start takes: it is called with a const context::Context& and returns nothing or a Result<void>.
template <class F>
concept OnStartFunction = requires(std::decay_t<F>& fn, const context::Context& daemon) {
  { fn(daemon) } -> OnStartResult;
};

/// A TcpHandler out of a function (const context::Context&, net::TcpStream&).
template <TcpFunction F>
std::shared_ptr<TcpHandler> make_tcp_handler(F&& fn) {
  class Function final : public TcpHandler {
   public:
    explicit Function(F&& f) : fn_(std::forward<F>(f)) {}
    void serve(const context::Context& connection, net::TcpStream& stream) override { fn_(connection, stream); }

   private:
    std::decay_t<F> fn_;
  };
  return std::make_shared<Function>(std::forward<F>(fn));
}

/// Called once, on a fiber. Success: go on.
using StartFunction = std::function<Result<void>(const context::Context& daemon)>;
using StopFunction = std::function<void()>;

/// Filled before the daemon starts, then only read.
class Handlers {
 public:
  /// Errors: invalid_argument (a name that is empty, longer than 64 bytes, or holds a blank or control character; no
  /// handler), file_exists (one of that kind has the name).
  [[nodiscard]] Result<void> add(std::string_view name, std::shared_ptr<http::Handler> handler);
  [[nodiscard]] Result<void> add(std::string_view name, std::shared_ptr<TcpHandler> handler);
  [[nodiscard]] Result<void> add(std::string_view name, std::shared_ptr<http::Filter> filter);
  /// Null when there is none.
  [[nodiscard]] std::shared_ptr<http::Handler> http(std::string_view name) const;
  [[nodiscard]] std::shared_ptr<TcpHandler> tcp(std::string_view name) const;
  [[nodiscard]] std::shared_ptr<http::Filter> filter(std::string_view name) const;
  [[nodiscard]] config::HandlerNames names() const;

  void on_start(StartFunction fn) { start_.push_back(std::move(fn)); }
  void on_stop(StopFunction fn) { stop_.push_back(std::move(fn)); }
  /// Calls the start functions in order, until one fails: with its error, or operation_canceled for an exception, which
  /// is logged. `why` says then which one it was, and what it said. On a fiber.
  [[nodiscard]] Result<void> start(const context::Context& daemon, std::string& why) const;
  /// Calls all stop functions, the last first. What one throws is logged. On a fiber.
  void stop() const noexcept;

 private:
  template <class H>
  using Named = std::map<std::string, std::shared_ptr<H>, std::less<>>;
  template <class H>
  static Result<void> add_to(Named<H>& all, std::string_view name, std::shared_ptr<H> handler);

  Named<http::Handler> http_;
  Named<TcpHandler> tcp_;
  Named<http::Filter> filters_;
  std::vector<StartFunction> start_;
  std::vector<StopFunction> stop_;
};

}  // namespace fiberd::daemon

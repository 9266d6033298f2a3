#pragma once
// Daemon: the whole of fiberd as a library. A program registers handlers of its own by name and gives main() away; the
// configuration says where they are served. The page to read first: docs/handlers.md.
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "daemon/handlers.hpp"

namespace fiberd::daemon {

/// Used by one thread, before the process has others. A process runs one of them once.
class Daemon {
 public:
  Daemon() = default;
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  /// Registers a handler for `handler: name` in routes. What is wrong with it (a name taken already, an empty one, …)
  /// is said by main(), which then does not start.
  Daemon& handle(std::string_view name, std::shared_ptr<http::Handler> handler);
  /// The same for a function Result<void>(http::Exchange&): it is called on many fibers at once.
  template <http::HttpFunction F>
  Daemon& handle(std::string_view name, F&& fn) {
    return handle(name, http::make_handler(std::forward<F>(fn)));
  }

  /// Registers a filter for `filters: [name]` in HTTP listeners and routes.
  Daemon& filter(std::string_view name, std::shared_ptr<http::Filter> filter);
  /// The same for a function Result<void>(http::Exchange&, http::Next): it is called on many fibers at once.
  template <http::FilterFunction F>
  Daemon& filter(std::string_view name, F&& fn) {
    return filter(name, http::make_filter(std::forward<F>(fn)));
  }

  /// Registers a handler for `tcp: {handler: name}` in listeners.
  Daemon& serve_tcp(std::string_view name, std::shared_ptr<TcpHandler> handler);
  /// The same for a function void(const context::Context&, net::TcpStream&): it is called on many fibers at once.
  template <TcpFunction F>
  Daemon& serve_tcp(std::string_view name, F&& fn) {
    return serve_tcp(name, make_tcp_handler(std::forward<F>(fn)));
  }

  /// Calls a function (const context::Context&) on a fiber before anything is accepted, several in the order of their
  /// registration: to start what stands behind the handlers. Its context is done when the last connection has gone, and
  /// fibers that it spawned must then end: the daemon waits for them. An error that it returns, or what it
  /// throws, ends the daemon with exit code 1.
  template <OnStartFunction F>
  Daemon& on_start(F&& fn) {
    if constexpr (std::is_invocable_r_v<Result<void>, std::decay_t<F>&, const context::Context&>) {
      handlers_.on_start(std::forward<F>(fn));
    } else {
      handlers_.on_start([f = std::forward<F>(fn)](const context::Context& daemon) mutable {
        f(daemon);
        return Result<void>();
      });
    }
    return *this;
  }
  /// Calls `fn` on a fiber when the last connection has gone, the last registered first, also when a start failed: to
  /// shut down what handlers used. What has not ended two seconds after shutdown.timeout ends with the process.
  Daemon& on_stop(StopFunction fn);

  /// What runs without -c, and what `config default` prints, in place of fiberd's own. A program with handlers that has
  /// none refuses to run without -c: fiberd's own would serve none of them.
  Daemon& default_config(std::string yaml);

  /// The command line of fiberd: [run] [-c FILE] [--set key=value]…, check FILE, config default|schema, version. Runs
  /// until SIGTERM or SIGINT and drains. Puts right first what the parent left (standard descriptors that are closed,
  /// signals that are blocked or ignored, a low soft limit of open files) and sets a terminate handler. Returns the
  /// process's exit code: 0 clean stop, 1 failure while running, 2 bad usage, configuration or registration, 3 an
  /// address cannot be bound.
  [[nodiscard]] int main(int argc, char** argv);

 private:
  void note(std::string_view kind, std::string_view name, std::error_code error);

  Handlers handlers_;
  std::string default_config_;
  std::vector<std::string> mistakes_;
};

}  // namespace fiberd::daemon

#pragma once
// What the servers of the experiments share: one route, its handler, and serving until SIGTERM.
#include <netinet/in.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <system_error>
#include <utility>

#include "core/base/clock.hpp"
#include "core/http/exchange.hpp"
#include "core/http/server.hpp"
#include "core/net/listener.hpp"
#include "core/runtime/runtime.hpp"

namespace toolkit {

/// Serves "/" on 127.0.0.1:`port` until SIGTERM comes; GOMAXPROCS from the environment. `setup` runs on a fiber before
/// and returns the handler, `cleanup` on a fiber after.
template <class Setup, class Cleanup>
int serve(std::uint16_t port, Setup&& setup, Cleanup&& cleanup) {
  using namespace fiberd;
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &term, nullptr);
  auto runtime = runtime::Runtime::start({});
  if (!runtime) throw std::system_error(runtime.error());
  http::Route route;
  route.spec.path = "/*";
  (*runtime)->run([&] { route.handler = setup(); });
  auto server = http::Server::make({}, {std::move(route)});
  if (!server) throw std::system_error(server.error());
  auto listener = net::Listener::bind(**runtime, net::Endpoint::v4(INADDR_LOOPBACK, port), {});
  if (!listener) throw std::system_error(listener.error());
  const Result<void> started = (*listener)->start(&http::Server::on_accept, server->get());
  if (!started) throw std::system_error(started.error());
  int signal = 0;
  sigwait(&term, &signal);
  (*runtime)->run([&] {
    (*listener)->stop();
    const std::atomic<std::int64_t> until{Deadline::in(std::chrono::seconds(5)).ns()};
    (void)(*server)->stop(until);
    cleanup();
  });
  listener->reset();
  runtime->reset();
  return 0;
}

}  // namespace toolkit

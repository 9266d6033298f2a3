// A program that does not come to its end: a handler, or a function of on_stop, that hangs. "compute" computes until
// somebody asks for "release", as a fiber that may be handed off; "wedge" for ever, as one that may not.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fiberd/core/base/log.hpp>
#include <fiberd/core/runtime/blocking.hpp>
#include <fiberd/core/runtime/runtime.hpp>
#include <fiberd/daemon/daemon.hpp>
#include <string_view>
#include <thread>

using namespace fiberd;

int main(int argc, char** argv) {
  const auto hang = [] {
    log(LogLevel::info, "stuck now");
    runtime::blocking([] { std::this_thread::sleep_for(std::chrono::hours(1)); });
  };
  daemon::Daemon daemon;
  daemon.handle("stuck", [hang](http::Exchange& exchange) {
    hang();
    return exchange.respond(200, "text/plain", "done");
  });
  static std::atomic<bool> released{false};
  daemon.handle("compute", [](http::Exchange& exchange) {
    log(LogLevel::info, "computing now");
    while (!released.load(std::memory_order_relaxed)) {
    }
    return exchange.respond(200, "text/plain", "computed");
  });
  daemon.handle("release", [](http::Exchange& exchange) {
    released = true;
    return exchange.respond(200, "text/plain", "released");
  });
  daemon.handle("wedge", [](http::Exchange& exchange) {
    const runtime::Pin pin;
    log(LogLevel::info, "wedged now");
    for (std::atomic<unsigned> turns{0};;) turns.fetch_add(1, std::memory_order_relaxed);
    return exchange.respond(200, "text/plain", "never");
  });
  const char* const at_stop = std::getenv("STUCK_AT_STOP");
  if (at_stop != nullptr && std::string_view(at_stop) == "1") daemon.on_stop(hang);
  return daemon.main(argc, argv);
}

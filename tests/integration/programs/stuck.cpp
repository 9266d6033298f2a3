// A program that does not come to its end: a handler, or a function of on_stop, that hangs.
#include <chrono>
#include <cstdlib>
#include <fiberd/core/base/log.hpp>
#include <fiberd/core/runtime/blocking.hpp>
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
  const char* const at_stop = std::getenv("STUCK_AT_STOP");
  if (at_stop != nullptr && std::string_view(at_stop) == "1") daemon.on_stop(hang);
  return daemon.main(argc, argv);
}

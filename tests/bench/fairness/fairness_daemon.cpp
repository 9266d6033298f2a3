// A daemon whose /computes keeps its fiber computing for three seconds: fairness.py asks /healthz meanwhile.
#include "core/base/clock.hpp"
#include "daemon/daemon.hpp"

using namespace fiberd;

int main(int argc, char** argv) {
  daemon::Daemon daemon;
  daemon.handle("computes", [](http::Exchange& exchange) {
    const std::int64_t end = monotonic_now() + 3'000'000'000;
    while (monotonic_now() < end) {
    }
    return exchange.respond(200, "text/plain", "computed\n");
  });
  return daemon.main(argc, argv);
}

// A daemon whose handlers hold their threads: /computes for three seconds, /holds for two, /reads in a read(2) that
// blocks for two without having said so. fairness.py asks others meanwhile.
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "core/base/clock.hpp"
#include "core/base/defer.hpp"
#include "daemon/daemon.hpp"

using namespace fiberd;

static void compute(std::int64_t seconds) {
  const std::int64_t end = monotonic_now() + seconds * 1'000'000'000;
  while (monotonic_now() < end) {
  }
}

int main(int argc, char** argv) {
  daemon::Daemon daemon;
  daemon.handle("computes", [](http::Exchange& exchange) {
    compute(3);
    return exchange.respond(200, "text/plain", "computed\n");
  });
  daemon.handle("holds", [](http::Exchange& exchange) {
    compute(2);
    return exchange.respond(200, "text/plain", "held\n");
  });
  daemon.handle("reads", [](http::Exchange& exchange) -> Result<void> {
    const int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    if (fd < 0) return fail_errno(-errno);
    const defer closed([fd] { close(fd); });
    const itimerspec once{{0, 0}, {2, 0}};
    timerfd_settime(fd, 0, &once, nullptr);
    std::uint64_t fired = 0;
    while (read(fd, &fired, sizeof fired) < 0 && errno == EINTR) {
    }
    return exchange.respond(200, "text/plain", "read\n");
  });
  daemon.handle("greets",
                [](http::Exchange& exchange) { return exchange.respond(200, "text/plain", "Hello, World!"); });
  return daemon.main(argc, argv);
}

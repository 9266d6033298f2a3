// The daemon with a fiber on each Processor that wakes every 200 µs and tells how long something else had the
// Processor. `handler: heartbeats` answers the longest of each since it was asked last, in µs, over all Processors:
//   cpu N     CPU time of the thread between two beats: no fiber can have run for longer than that without a wait
//   stood N   how late a beat came, without what the thread waited for a CPU of the machine: what it computed, and what
//             it waited for inside of the kernel (a page, a lock)
//   late N    how late a beat came by the clock on the wall
//   beats N   how many there were
#include <fcntl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fiberd/core/base/clock.hpp>
#include <fiberd/core/context/waits.hpp>
#include <fiberd/core/runtime/runtime.hpp>
#include <fiberd/daemon/daemon.hpp>
#include <string>

using namespace fiberd;
using namespace std::chrono_literals;

namespace {

struct Longest {
  std::atomic<std::int64_t> cpu{0};
  std::atomic<std::int64_t> stood{0};
  std::atomic<std::int64_t> late{0};
  std::atomic<std::int64_t> beats{0};
};
Longest longest;

void raise(std::atomic<std::int64_t>& to, std::int64_t value) noexcept {
  std::int64_t was = to.load();
  while (was < value && !to.compare_exchange_weak(was, value)) {
  }
}

/// What the kernel knows of the thread that asks. Between two waits of a fiber that is one thread.
struct OfThread {
  long id = 0;
  std::int64_t cpu = 0;      // ns
  std::int64_t waiting = 0;  // ns ready to run, and without a CPU

  [[gnu::noinline]] static OfThread look() noexcept {
    OfThread t;
    t.id = ::syscall(SYS_gettid);
    timespec used{};
    (void)::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    t.cpu = std::int64_t{used.tv_sec} * 1'000'000'000 + used.tv_nsec;
    const int fd = ::open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    std::array<char, 96> text{};
    if (fd >= 0 && ::read(fd, text.data(), text.size() - 1) > 0) {
      char* rest = nullptr;
      (void)std::strtoll(text.data(), &rest, 10);
      t.waiting = std::strtoll(rest, nullptr, 10);
    }
    if (fd >= 0) (void)::close(fd);
    return t;
  }
};

void beat(const context::Context& daemon) {
  static constexpr std::chrono::nanoseconds kEvery = 200us;
  OfThread before = OfThread::look();
  for (;;) {
    const std::int64_t due = monotonic_now() + kEvery.count();
    if (!context::sleep(daemon, kEvery)) return;
    const std::int64_t late = std::max<std::int64_t>(monotonic_now() - due, 0);
    const OfThread now = OfThread::look();
    raise(longest.late, late);
    if (now.id == before.id) {
      raise(longest.cpu, now.cpu - before.cpu);
      raise(longest.stood, late - (now.waiting - before.waiting));
    } else {  // the Processor has another thread
      raise(longest.stood, late);
    }
    longest.beats.fetch_add(1);
    before = now;
  }
}

Result<void> tell(http::Exchange& exchange) {
  const auto taken = [](std::atomic<std::int64_t>& value) { return std::to_string(value.exchange(0) / 1000) + "\n"; };
  const std::string text = "cpu " + taken(longest.cpu) + "stood " + taken(longest.stood) + "late " +
                           taken(longest.late) + "beats " + std::to_string(longest.beats.exchange(0)) + "\n";
  return exchange.respond(200, "text/plain", text);
}

}  // namespace

int main(int argc, char** argv) {
  daemon::Daemon daemon;
  daemon.handle("heartbeats", &tell);
  daemon.on_start([](const context::Context& ctx) -> Result<void> {
    const char* const processors = std::getenv("HEARTBEATS");
    const unsigned n = processors != nullptr ? static_cast<unsigned>(std::atoi(processors)) : 0;
    for (unsigned p = 0; p < n; ++p)
      if (const Result<void> started = runtime::spawn_on(p, "heartbeat", [ctx] { beat(ctx); }); !started)
        return started;
    return {};
  });
  return daemon.main(argc, argv);
}

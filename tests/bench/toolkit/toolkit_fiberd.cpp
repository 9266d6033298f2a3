// fiberd's program of the toolkit benchmark. Its twins: go_toolkit/main.go and toolkit_boost.cpp.
//
//   toolkit_fiberd CASE GOMAXPROCS OPERATIONS
//
// What is measured and printed: measure.hpp.
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <mutex>
#include <system_error>
#include <vector>

#include "core/runtime/runtime.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/mutex.hpp"
#include "core/sync/select.hpp"
#include "core/sync/wait_group.hpp"
#include "measure.hpp"

using namespace fiberd;
using toolkit::sum_below;

namespace {

/// go, or the benchmark ends.
template <class F>
void go(runtime::FiberName name, F&& fn) {
  if (const Result<void> r = runtime::spawn(name, std::forward<F>(fn)); !r) throw std::system_error(r.error());
}
template <class F>
void go(sync::WaitGroup& group, runtime::FiberName name, F&& fn) {
  if (const Result<void> r = group.go(name, std::forward<F>(fn)); !r) throw std::system_error(r.error());
}

bool transfer(std::size_t capacity, std::int64_t n) {
  sync::Channel<std::int64_t> channel(capacity);
  go("sender", [&channel, n] {
    for (std::int64_t i = 0; i < n; ++i) (void)channel.send(i);
    channel.close();
  });
  std::int64_t sum = 0;
  for (const std::int64_t v : channel) sum += v;
  return sum == sum_below(n);
}

bool handoff(std::int64_t n) { return transfer(0, n); }

bool buffered(std::int64_t n) { return transfer(toolkit::kBuffer, n); }

bool pingpong(std::int64_t n) {
  sync::Channel<std::int64_t> ping;
  sync::Channel<std::int64_t> pong;
  go("partner", [&] {
    for (const std::int64_t v : ping) (void)pong.send(v + 1);
    pong.close();
  });
  std::int64_t v = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    (void)ping.send(v);
    v = *pong.receive();
  }
  ping.close();
  return v == n && !pong.receive();
}

bool select4(std::int64_t n) {
  std::array<sync::Channel<std::int64_t>, 4> channels;
  const std::int64_t each = n / 4;
  for (sync::Channel<std::int64_t>& channel : channels)
    go("sender", [&channel, each] {
      for (std::int64_t v = 0; v < each; ++v) (void)channel.send(v);
    });
  auto& [a, b, c, d] = channels;
  std::int64_t sum = 0;
  const auto add = [&sum](const Result<std::int64_t>& v) { sum += *v; };
  for (std::int64_t i = 0; i < each * 4; ++i)
    sync::select(sync::on_receive(a, add), sync::on_receive(b, add), sync::on_receive(c, add),
                 sync::on_receive(d, add));
  return sum == sum_below(each) * 4;
}

/// With `held` the holder lets the others run, so that they queue up, in one round of kHeldEvery.
bool locked(std::int64_t n, bool held) {
  sync::Mutex mutex;
  sync::WaitGroup group;
  std::int64_t counter = 0;
  const std::int64_t each = n / toolkit::kMutexFibers;
  for (std::int64_t f = 0; f < toolkit::kMutexFibers; ++f)
    go(group, "counter", [&mutex, &counter, each, held] {
      for (std::int64_t i = 0; i < each; ++i) {
        const std::lock_guard<sync::Mutex> lock(mutex);
        ++counter;
        if (held && i % toolkit::kHeldEvery == 0) runtime::yield();
      }
    });
  group.wait();
  return counter == each * toolkit::kMutexFibers;
}

bool mutex(std::int64_t n) { return locked(n, true); }

bool mutex_short(std::int64_t n) { return locked(n, false); }

bool spawn_join(std::int64_t n) {
  std::vector<std::int64_t> results(toolkit::kBatch);
  std::int64_t sum = 0;
  for (std::int64_t done = 0; done < n; done += toolkit::kBatch) {
    sync::WaitGroup group;
    for (std::int64_t& result : results) go(group, "one", [&result] { result = 1; });
    group.wait();
    for (std::int64_t& result : results) sum += std::exchange(result, 0);
  }
  return sum == (n + toolkit::kBatch - 1) / toolkit::kBatch * toolkit::kBatch;
}

/// As published (github.com/atemerev/skynet): a tree of ten children each, the leaves' numbers summed through channels.
void skynet_node(sync::Channel<std::int64_t>& results, std::int64_t number, std::int64_t size) {
  if (size == 1) {
    (void)results.send(number);
    return;
  }
  sync::Channel<std::int64_t> below;
  const std::int64_t part = size / toolkit::kSkynetChildren;
  for (std::int64_t i = 0; i < toolkit::kSkynetChildren; ++i)
    go("skynet", [&below, number, i, part] { skynet_node(below, number + i * part, part); });
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < toolkit::kSkynetChildren; ++i) sum += *below.receive();
  (void)results.send(sum);
}

bool skynet(std::int64_t n) {
  sync::Channel<std::int64_t> results;
  go("skynet", [&results, n] { skynet_node(results, 0, n); });
  return *results.receive() == sum_below(n);
}

bool section(std::int64_t n) {
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i)
    sum += runtime::blocking_section([] { return ::syscall(SYS_getppid) > 0 ? 1 : 0; });
  return sum == n;
}

bool (*find(std::string_view name))(std::int64_t) {
  if (name == "handoff") return handoff;
  if (name == "buffered") return buffered;
  if (name == "pingpong") return pingpong;
  if (name == "select4") return select4;
  if (name == "mutex") return mutex;
  if (name == "mutex_short") return mutex_short;
  if (name == "spawn_join") return spawn_join;
  if (name == "skynet") return skynet;
  if (name == "section") return section;
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  toolkit::Arguments arguments;
  if (!toolkit::parse(argc, argv, arguments)) return 2;
  auto* const body = find(arguments.name);
  if (body == nullptr) return 2;
  auto runtime = runtime::Runtime::start({.gomaxprocs = arguments.gomaxprocs});
  if (!runtime) throw std::system_error(runtime.error());
  int status = 1;
  (*runtime)->run([&] { status = toolkit::measure(arguments, body); });
  return status;
}

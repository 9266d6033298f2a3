// docs/handlers.md: what cancels and gives back by itself, the ends of a channel, cases that are kept.
#include <catch2/catch.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <system_error>
#include <vector>

#include "core/context/cancel_scope.hpp"
#include "core/context/context.hpp"
#include "core/context/done_signal.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/channel_ends.hpp"
#include "core/sync/mutex.hpp"
#include "core/sync/select.hpp"
#include "core/sync/semaphore.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/integration/handlers_doc/page.hpp"

using namespace fiberd;
using namespace std::chrono_literals;

namespace {

// clang-format off
void number(const context::Context& ctx, sync::Sender<int> out) {
  for (int i = 1; i <= 10; ++i)
    if (!out.send(ctx, i)) return;  // nobody wants more
  out.close();
}

int add_up(const context::Context& ctx, sync::Receiver<int> in) {
  int sum = 0;
  for (const int value : in.until(ctx)) sum += value;  // until it is closed and empty, or ctx is done
  return sum;
}

Result<void> store(const context::Context& ctx, sync::Semaphore& slots, sync::Mutex& mutex, int& stored) {
  const context::CancelScope call(context::with_timeout(ctx, 5s));  // canceled when it goes
  const Result<sync::Semaphore::Permit> place = slots.permit(call);
  if (!place) return fail(place.error());
  const auto guard = mutex.guard(call);
  if (!guard) return fail(guard.error());  // the place goes back
  ++stored;
  return {};
}
// clang-format on

}  // namespace

TEST_CASE("docs/handlers.md: ends of channels", "[integration][docs]") {
  int sum = 0;
  std::size_t heard = 0;
  test::on_fibers([&] {
    const context::Context ctx = context::background();
    sync::WaitGroup group;
    sync::Channel<int> numbers(4);
    const Result<void> started = group.go("number", [&] { number(ctx, numbers); });
    if (started) sum = add_up(ctx, numbers);
    group.wait();

    std::vector<std::unique_ptr<sync::Channel<int>>> sources;
    for (int i = 0; i < 3; ++i) sources.push_back(std::make_unique<sync::Channel<int>>(1));
    const context::DoneSignal gone = context::when_done(ctx);  // its end alone, to be handed on
    std::vector<sync::AnyCase> cases;
    for (const auto& source : sources)
      cases.push_back(sync::on_receive(*source, [&](Result<int> value) { heard += value ? 1U : 0U; }));
    cases.push_back(sync::on_done(gone));
    for (const auto& source : sources) {
      if (!source->try_send_if_open(1)) break;  // sync::errc::closed, or would_wait
      sync::select(cases);                      // as often as wanted
    }
  });
  CHECK(sum == 55);
  CHECK(heard == 3);
}

TEST_CASE("docs/handlers.md: what gives back by itself", "[integration][docs]") {
  int stored = 0;
  std::size_t available = 0;
  test::on_fibers([&] {
    sync::Semaphore slots(2);
    sync::Mutex mutex;
    (void)store(context::background(), slots, mutex, stored);
    available = slots.available();
  });
  CHECK(stored == 1);
  CHECK(available == 2);
}

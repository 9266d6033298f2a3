// Cancel racing with completion, double cancel, cancel before start: a million rounds on two Processors. In each, one
// fiber waits under a context for a piece of work that another fiber completes while others cancel, and everybody drops
// his handles as soon as he is done, in whatever order that comes.
//
// What must hold: the wait ends once, with success exactly if the completing wake was the one that ended it; otherwise
// with the error that the context has from then on. A context that was done before the wait is not waited on.
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <optional>

#include "core/context/live.hpp"
#include "core/context/waits.hpp"
#include "core/runtime/runtime.hpp"
#include "tests/support/sanitized.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using context::errc;
using runtime::Runtime;

namespace {

constexpr int kRounds = 1'000'192;  // a multiple of all that is drawn from it
// ThreadSanitizer: a round costs it a hundred times as much, minutes for them all; those are the nightly case's.
constexpr int kEachTime = test::kThreadSanitizer ? 64'000 : kRounds;
constexpr int kDrivers = 32;

enum Kind : int { cancel_and_complete, cancel_twice, cancel_before_start, cancel_parent_and_drop_child, kinds };

struct Counts {
  int completed = 0;
  int canceled = 0;
  int wrong = 0;
};

/// What the fibers of a round share; the waiter leaves it when all of them have.
struct Round {
  std::atomic<int> inside{0};
  std::atomic<bool> woke{false};
};

bool spawn_on(unsigned processor, Round& round, UniqueFunction fn) {
  round.inside.fetch_add(1, std::memory_order_relaxed);
  if (runtime::spawn_on(processor, "racer", std::move(fn))) return true;
  round.inside.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

void run_round(int i, const context::Context& root, Counts& counts) {
  const int kind = i % kinds;
  const auto here = static_cast<unsigned>(i / kinds % 2);
  Round round;
  std::optional<context::Cancelable> parent(context::with_cancel(root));
  std::optional<context::Cancelable> own(
      kind == cancel_parent_and_drop_child ? context::with_timeout(parent->context, 1h) : *parent);
  if (kind == cancel_before_start) own->cancel();
  const runtime::Ticket ticket = runtime::prepare_park(runtime::WaitReason::test);
  bool good = spawn_on(here, round, [&round, ticket] {
    if (runtime::wake(ticket)) round.woke.store(true, std::memory_order_relaxed);
    round.inside.fetch_sub(1, std::memory_order_release);
  });
  for (unsigned n = kind == cancel_twice ? 2 : 1; n != 0 && kind != cancel_before_start; --n)
    good = spawn_on(here + n, round,
                    [&round, cancel = parent->cancel]() mutable {
                      cancel(std::make_error_code(std::errc::connection_reset));
                      cancel = {};
                      round.inside.fetch_sub(1, std::memory_order_release);
                    }) &&
           good;
  parent.reset();
  const std::error_code error = context::park_until(ticket, own->context);
  const std::error_code after = own->context.err();
  const std::error_code cause = own->context.cause();
  own.reset();  // while a cancel may still be going through it
  while (round.inside.load(std::memory_order_acquire) != 0) runtime::yield();
  good = good && round.woke.load(std::memory_order_relaxed) == !error;
  good = good && (!error || (error == errc::canceled && after == error));
  if (kind == cancel_before_start)
    good = good && after == errc::canceled && cause == errc::canceled;
  else
    good = good && (!after || cause == std::errc::connection_reset);
  counts.wrong += good ? 0 : 1;
  ++(error ? counts.canceled : counts.completed);
}

}  // namespace

/// Many at once: the Processors stay awake, and what races is the contexts.
static void race(int rounds) {
  std::array<Counts, kDrivers> counts;
  const std::uint64_t live = context::live_count();
  auto rt = Runtime::start({.gomaxprocs = 2});
  REQUIRE(rt);
  (*rt)->run([&] {
    const auto root = context::with_cancel(context::background());
    std::atomic<int> left{kDrivers};
    for (Counts& mine : counts)
      (void)runtime::spawn("driver", [&] {
        for (int i = 0; i < rounds / kDrivers; ++i) run_round(i, root.context, mine);
        --left;
      });
    while (left != 0) (void)runtime::sleep_for(1ms);
    root.cancel();
  });
  Counts all;
  for (const Counts& c : counts) {
    all.completed += c.completed;
    all.canceled += c.canceled;
    all.wrong += c.wrong;
  }
  CHECK(all.wrong == 0);
  CHECK(all.completed + all.canceled == rounds);
  CHECK(all.completed > 1'000);
  CHECK(all.canceled > 1'000);
  CHECK(context::live_count() == live);
}

static_assert(kRounds % (kDrivers * kinds * 2) == 0 && kEachTime % (kDrivers * kinds * 2) == 0);

TEST_CASE("cancel against completion, twice and beforehand: a million rounds, one outcome each", "[context][race]") {
  race(kEachTime);
}

TEST_CASE("the same million rounds whatever they cost", "[.nightly][context]") { race(kRounds); }

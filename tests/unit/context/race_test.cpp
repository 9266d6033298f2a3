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

#include "core/context/live_contexts.hpp"
#include "core/context/waits.hpp"
#include "core/runtime/runtime.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using context::errc;
using runtime::Runtime;

namespace {

constexpr int kRounds = 1'000'192;  // a multiple of all that is drawn from it
constexpr int kDrivers = 32;

enum Kind : int { cancel_and_complete, cancel_twice, cancel_before_start, cancel_parent_and_drop_child, kinds };
static_assert(kRounds % (kDrivers * kinds) == 0);

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

struct Job {
  Round* round = nullptr;  // nullptr: there are no more
  runtime::Ticket ticket;  // to be woken, or none:
  context::CancelFunction cancel;
};

/// A fiber that does jobs, one at a time. It lives for all rounds: to ThreadSanitizer a fiber's birth is dearer than
/// anything that is tested here.
class Helper {
 public:
  /// `left` counts those that have not ended yet.
  void start(unsigned processor, std::atomic<int>& left) {
    ++left;
    started_ = runtime::spawn_on(processor, "helper", [this, &left] {
                 run();
                 --left;
               }).has_value();
    if (!started_) --left;
  }
  [[nodiscard]] bool started() const noexcept { return started_; }
  void give(Job& job) noexcept {
    job_.store(&job);
    if (const runtime::Ticket waiting{waiting_.load()}) runtime::wake(waiting);
  }

 private:
  Job& take() noexcept {
    for (;;) {
      const runtime::Ticket t = runtime::prepare_park(runtime::WaitReason::test);
      waiting_.store(t.value);
      // Who gave before the store had no ticket to wake.
      if (job_.load() != nullptr)
        (void)runtime::abandon_park(t);
      else
        (void)runtime::park_until(t);
      if (Job* const job = job_.exchange(nullptr)) return *job;
    }
  }
  void run() noexcept {
    for (;;) {
      Job& job = take();
      Round* const round = job.round;
      if (round == nullptr) return;
      if (job.ticket) {
        if (runtime::wake(job.ticket)) round->woke.store(true, std::memory_order_relaxed);
      } else {
        job.cancel(std::make_error_code(std::errc::connection_reset));
        job.cancel = {};
      }
      round->inside.fetch_sub(1, std::memory_order_release);
    }
  }
  std::atomic<Job*> job_{nullptr};
  std::atomic<std::uint64_t> waiting_{0};
  bool started_ = false;
};

using Helpers = std::array<Helper, 3>;  // one wakes, two cancel

void run_round(int i, Helpers& helpers, const context::Context& root, Counts& counts) {
  const int kind = i % kinds;
  Round round;
  std::optional<context::Cancelable> parent(context::with_cancel(root));
  std::optional<context::Cancelable> own(
      kind == cancel_parent_and_drop_child ? context::with_timeout(parent->context, 1h) : *parent);
  if (kind == cancel_before_start) own->cancel();
  const std::size_t cancels = kind == cancel_before_start ? 0 : kind == cancel_twice ? 2 : 1;
  round.inside.store(static_cast<int>(1 + cancels), std::memory_order_relaxed);
  const runtime::Ticket ticket = runtime::prepare_park(runtime::WaitReason::test);
  std::array<Job, 3> jobs;
  jobs[0] = {&round, ticket, {}};
  for (std::size_t k = 1; k <= cancels; ++k) jobs[k] = {&round, {}, parent->cancel};
  parent.reset();
  // Who is first differs from round to round.
  for (std::size_t k = 0; k <= cancels; ++k) {
    const std::size_t which = (k + static_cast<std::size_t>(i / kinds)) % (cancels + 1);
    helpers[which].give(jobs[which]);
  }
  const std::error_code error = error_of(context::park_until(own->context, ticket));
  const std::error_code after = own->context.err();
  const std::error_code cause = own->context.cause();
  own.reset();  // while a cancel may still be going through it
  while (round.inside.load(std::memory_order_acquire) != 0) runtime::yield();
  bool good = round.woke.load(std::memory_order_relaxed) == !error;
  good = good && (!error || (error == errc::canceled && after == error));
  if (kind == cancel_before_start)
    good = good && after == errc::canceled && cause == errc::canceled;
  else
    good = good && (!after || cause == std::errc::connection_reset);
  counts.wrong += good ? 0 : 1;
  ++(error ? counts.canceled : counts.completed);
}

/// A waiter with its helpers, which sit on both Processors.
void drive(unsigned number, int rounds, const context::Context& root, Counts& counts) {
  Helpers helpers;
  std::atomic<int> left{0};
  bool good = true;
  for (unsigned k = 0; k < helpers.size(); ++k) {
    helpers[k].start(number + k, left);
    good = good && helpers[k].started();
  }
  for (int i = 0; i < rounds && good; ++i) run_round(i, helpers, root, counts);
  Job end;
  for (Helper& h : helpers)
    if (h.started()) h.give(end);
  while (left != 0) runtime::yield();
}

}  // namespace

TEST_CASE("cancel against completion, twice and beforehand: a million rounds, one outcome each", "[context][race]") {
  // Many at once: the Processors stay awake, and what races is the contexts.
  std::array<Counts, kDrivers> counts;
  const std::uint64_t live = context::live_count();
  auto rt = Runtime::start({.gomaxprocs = 2});
  REQUIRE(rt);
  (*rt)->run([&] {
    const auto root = context::with_cancel(context::background());
    std::atomic<int> left{kDrivers};
    for (unsigned d = 0; d < kDrivers; ++d)
      (void)runtime::spawn("driver", [&, d] {
        drive(d, kRounds / kDrivers, root.context, counts[d]);
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
  CHECK(all.completed + all.canceled == kRounds);
  CHECK(all.completed > 1'000);
  CHECK(all.canceled > 1'000);
  CHECK(context::live_count() == live);
}

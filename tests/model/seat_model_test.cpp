// Every interleaving of a fiber that owns its machine, parks there and gives it back, with those who wake it.
#include "core/runtime/seat.hpp"

#include <catch2/catch.hpp>
#include <utility>

#include "core/runtime/status_word.hpp"
#include "tests/model/explorer.hpp"

using namespace fiberd;
using model::World;

namespace {

bool freed = false;  // the machine, with its seat

/// The seat's words: nothing may touch them once the machine is gone.
template <class T>
class Guarded : public model::Atomic<T> {
  using Base = model::Atomic<T>;

 public:
  constexpr Guarded(T value) noexcept : Base(value) {}  // NOLINT: as std::atomic
  T load(std::memory_order o = std::memory_order_seq_cst) const noexcept { return checked(Base::load(o)); }
  void store(T value, std::memory_order o = std::memory_order_seq_cst) noexcept {
    Base::store(value, o);
    (void)checked(value);
  }
  T exchange(T value, std::memory_order o = std::memory_order_seq_cst) noexcept {
    return checked(Base::exchange(value, o));
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order a, std::memory_order b) noexcept {
    return checked(Base::compare_exchange_strong(expected, desired, a, b));
  }
  T fetch_add(T n, std::memory_order o = std::memory_order_seq_cst) noexcept { return checked(Base::fetch_add(n, o)); }
  T fetch_sub(T n, std::memory_order o = std::memory_order_seq_cst) noexcept { return checked(Base::fetch_sub(n, o)); }

 private:
  template <class V>
  static V checked(V value) noexcept {
    if (freed) model::fail("the seat of a machine that is gone was touched");
    return value;
  }
};

struct Sleep {
  static void wait_while(Guarded<std::uint32_t>& word, std::uint32_t value) noexcept { (void)word.wait_while(value); }
  /// The system call: an address is enough for it, but the word must be there.
  static void notify(Guarded<std::uint32_t>& word) noexcept { (void)word.load(); }
  static void pause(Guarded<std::uint32_t>& count, std::uint32_t seen) noexcept { (void)count.wait_while(seen); }
};

using Good = runtime::BasicSeat<Guarded, Sleep>;

/// Leaves while somebody is still about to wake it.
struct LeavesAtOnce : Good {
  void vacate() noexcept {}
};

/// Looks whether it was called, and then goes to sleep.
struct LooksThenSleeps {
  Guarded<std::uint32_t> called{0};
  Guarded<std::uint32_t> asleep{0};
  void call() noexcept {
    called.store(1);
    if (asleep.load() != 0) asleep.store(0);
  }
  void wait() noexcept {
    if (called.load() == 0) {
      asleep.store(1);
      (void)asleep.wait_while(1);
    }
    called.store(0);
  }
  void vacate() noexcept {}
};

template <class Seat>
void scenario(World& w, int waits, int wakers = 2) {
  struct State {
    runtime::BasicStatusWord<model::Atomic> status;
    model::Atomic<std::uint32_t> ticket{0};  // of the present wait
    Seat seat;
    int woken = 0;
    int calls = 0;
    bool left = false;
  };
  freed = false;
  auto& s = w.make<State>();
  w.thread("lodger", [&s, waits] {
    for (int i = 0; i < waits; ++i) {
      s.ticket.store(s.status.begin_park(runtime::WaitReason::test));
      // On g0: the same as Scheduler's finish_switch() and run_lodger().
      if (!s.status.commit_park()) {
        ++s.calls;
        s.seat.call();
      }
      s.seat.wait();
      s.status.set_owned(runtime::State::running);
      ++s.woken;
    }
    s.seat.vacate();
    freed = true;
    s.left = true;
  });
  for (; wakers != 0; --wakers)
    w.thread(wakers == 1 ? "waker" : "timer", [&s, waits] {
      std::uint32_t seen = 0;
      for (int i = 0; i < waits; ++i) {
        seen = s.ticket.wait_while(seen);
        if (s.status.wake(seen, runtime::Wake::ready) == decltype(s.status)::WakeResult::enqueue) {
          ++s.calls;
          s.seat.call();
        }
      }
    });
  w.may_hang();  // the one that lost a ticket to the other waits for a third
  w.finally([&s, waits]() -> std::string {
    if (!s.left) return "the lodger sleeps and somebody has called";
    return s.woken == waits && s.calls == waits ? "" : "not one call for each wait";
  });
}

}  // namespace

TEST_CASE("seat: a locked fiber is called once for each wait, and nobody touches what it gave back", "[model][seat]") {
  // Two who would end one wait, and one who ends two: the caller of the first may still be there at the second.
  for (const auto& [waits, wakers] : {std::pair{1, 2}, std::pair{2, 1}}) {
    const model::Outcome o =
        model::explore({}, [waits = waits, wakers = wakers](World& w) { scenario<Good>(w, waits, wakers); });
    INFO(o.report);
    CHECK_FALSE(o.failed);
    CHECK(o.complete);
    CHECK(o.executions > 5);
  }
}

TEST_CASE("seat: the model finds what the count and the CAS are for", "[model][seat][teeth]") {
  const model::Outcome gone = model::explore({}, [](World& w) { scenario<LeavesAtOnce>(w, 1); });
  CHECK(gone.failed);
  CHECK(gone.report.find("that is gone was touched") != std::string::npos);
  const model::Outcome lost = model::explore({}, [](World& w) { scenario<LooksThenSleeps>(w, 1); });
  CHECK(lost.failed);
}

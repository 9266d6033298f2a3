// A random tree of contexts under 10,000 seeds: nodes with deadlines, values, cuts and after_funcs; fibers that wait,
// cancel, stop and drop handles in an order that the seed draws. What must hold in each:
//
//  1. A wait under a context ends once, with the error that the context has from then on.
//  2. A context that was seen done keeps its err() and cause() for ever.
//  3. When a cancel has returned, every context below it that is not cut off is done.
//  4. A context that ended later than its parent's end could not have had another end than its parent's or one of its
//     own: its cause is that of an ancestor it hangs on, or its own.
//  5. An after_func was called once, or was stopped or dropped, and never both.
//  6. Nothing stays: as many contexts live afterwards as before, and none is counted as never cancelled.
#include <catch2/catch.hpp>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "core/base/random.hpp"
#include "core/context/after_func.hpp"
#include "core/context/live_contexts.hpp"
#include "core/context/node.hpp"
#include "core/context/value.hpp"
#include "core/context/waits.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/simulation.hpp"
#include "tests/support/seeds.hpp"

using namespace fiberd;
using context::Context;
using context::errc;
using runtime::Simulation;

namespace {

constexpr std::size_t kNodes = 8;
constexpr int kOwn = 1'000;  // + index: the cause that a node's own cancel or deadline gives

const context::Key<std::size_t> kIndex("index");

struct NodeState {
  std::optional<context::Cancelable> made;
  Context watched;  // kept to the end
  std::size_t parent = 0;
  bool cut = false;  // hangs on its parent for its values only
  std::error_code seen;
  std::error_code seen_cause;
  std::optional<context::StopFunction> after;
  int calls = 0;
  bool stopped = false;
};

std::error_code own_cause(std::size_t i) { return {kOwn + static_cast<int>(i), std::generic_category()}; }

class Tree {
 public:
  explicit Tree(std::uint64_t seed) : random_(seed) {
    for (std::size_t i = 0; i < kNodes; ++i) add(i);
  }

  void run() {
    int left = 0;
    const auto spawn = [&](auto fn) {
      ++left;
      (void)runtime::spawn("actor", [&left, fn] {
        fn();
        --left;
      });
    };
    for (std::size_t i = 0; i < kNodes; ++i) {
      const std::chrono::nanoseconds when(random_.below(6'000));
      switch (random_.below(4)) {
        case 0: spawn([this, i] { wait(i); }); break;
        case 1:
          spawn([this, i, when] {
            (void)runtime::sleep_for(when);
            cancel(i);
            cancel(i);
          });
          break;
        case 2:
          spawn([this, i, when] {
            (void)runtime::sleep_for(when);
            if (nodes_[i].after && (*nodes_[i].after)()) nodes_[i].stopped = true;
          });
          break;
        default:
          spawn([this, i, when] {
            (void)runtime::sleep_for(when);
            look();
            // The last handle but for those of children and waiters.
            if (nodes_[i].made) nodes_[i].made->cancel(own_cause(i));
            nodes_[i].made.reset();
          });
      }
    }
    (void)runtime::sleep_for(std::chrono::microseconds(3));
    look();
    (void)runtime::sleep_for(std::chrono::microseconds(7));
    for (std::size_t i = 0; i < kNodes; ++i) cancel(i);
    while (left != 0) (void)runtime::sleep_for(std::chrono::microseconds(1));
    (void)runtime::sleep_for(std::chrono::microseconds(10));  // the after_funcs
    look();
    for (std::size_t i = 0; i < kNodes; ++i) {
      const NodeState& n = nodes_[i];
      expect(n.watched.done());
      if (n.after) expect(n.calls + (n.stopped ? 1 : 0) == 1);
      if (n.watched.done()) expect(explained(i));
    }
  }

  [[nodiscard]] int wrong() const noexcept { return wrong_; }

 private:
  void expect(bool held) noexcept { wrong_ += held ? 0 : 1; }

  void add(std::size_t i) {
    NodeState& n = nodes_.emplace_back();
    n.parent = i == 0 ? 0 : random_.below(static_cast<std::uint32_t>(i));
    Context above = i == 0 ? context::background() : nodes_[n.parent].watched;
    if (random_.below(4) == 0) above = context::with_value(above, kIndex, i);
    if (i != 0 && random_.below(8) == 0) {
      above = context::without_cancel(above);
      n.cut = true;
    }
    if (i == 0) n.cut = true;
    n.made = random_.below(2) == 0
                 ? context::with_cancel(above)
                 : context::with_timeout(above, std::chrono::nanoseconds(random_.below(6'000)), own_cause(i));
    n.watched = n.made->context;
    if (random_.below(2) == 0)
      n.after = context::after_func(n.watched, [this, i] {
        ++nodes_[i].calls;
        expect(nodes_[i].watched.done());
      });
  }

  void wait(std::size_t i) {
    const Context ctx = nodes_[i].watched;
    const std::error_code error = error_of(context::sleep(ctx, std::chrono::hours(1)));
    expect(error == errc::canceled || error == errc::deadline_exceeded);
    expect(ctx.err() == error);
    look();
  }

  void cancel(std::size_t i) {
    const Context ctx = nodes_[i].watched;
    const context::CancelFunction cancel = context::detail::Access::cancel_function(ctx);
    cancel(own_cause(i));
    expect(ctx.done());
    for (std::size_t k = i + 1; k < kNodes; ++k)
      if (below(k, i)) expect(nodes_[k].watched.done());
    look();
  }

  [[nodiscard]] bool below(std::size_t k, std::size_t i) const {
    while (k != i && !nodes_[k].cut) k = nodes_[k].parent;
    return k == i;
  }

  /// 2: what was seen once is seen again.
  void look() {
    for (NodeState& n : nodes_) {
      const std::error_code now = n.watched.err();
      if (n.seen) {
        expect(now == n.seen && n.watched.cause() == n.seen_cause);
      } else if (now) {
        n.seen = now;
        n.seen_cause = n.watched.cause();
      }
    }
  }

  /// 4
  [[nodiscard]] bool explained(std::size_t i) const {
    const std::error_code cause = nodes_[i].watched.cause();
    for (std::size_t k = i;; k = nodes_[k].parent) {
      if (cause == own_cause(k)) return true;
      if (nodes_[k].cut) return false;
    }
  }

  Random random_;
  std::deque<NodeState> nodes_;
  int wrong_ = 0;
};

}  // namespace

TEST_CASE("a random tree of contexts under 10,000 seeds", "[context][seeds]") {
  const std::uint64_t live = context::live_count();
  const std::uint64_t forgotten = context::never_canceled_count();
  test::for_each_seed(10'000, [&](std::uint64_t seed) -> std::string {
    int broken = 0;
    const auto outcome = Simulation(seed).run([&] {
      Tree tree(seed);
      tree.run();
      broken = tree.wrong();
    });
    if (outcome.deadlock) return outcome.report;
    if (broken != 0) return std::to_string(broken) + " expectations are broken";
    if (context::live_count() != live) return "contexts are left over";
    return context::never_canceled_count() != forgotten ? "some were never cancelled" : "";
  });
}

// One cancel, one outcome: a clock that goes on with each look shows who looks again.
#include <atomic>
#include <catch2/catch.hpp>
#include <vector>

#include "core/base/clock.hpp"
#include "core/context/context.hpp"
#include "core/context/node.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using context::errc;

namespace {

constexpr std::int64_t kMs = 1'000'000;
std::atomic<std::int64_t> g_now{0};
std::atomic<std::int64_t> g_step{0};

/// Each look at the clock takes g_step.
struct SteppingClock {
  SteppingClock() {
    g_now = 1'000 * kMs;
    g_step = 0;
    set_clock_source([]() noexcept { return g_now.fetch_add(g_step.load()) + g_step.load(); });
  }
  ~SteppingClock() { set_clock_source(nullptr); }
};

std::error_code given(int n) { return {n, std::generic_category()}; }

struct LookDuringCancel : context::detail::DoneHook {
  const context::Context* child = nullptr;
  std::error_code error;
};

}  // namespace

TEST_CASE("a cancel just before the deadline ends all below as the parent, whatever the clock says then", "[context]") {
  const SteppingClock clock;
  const auto parent = context::with_deadline(context::background(), Deadline::at(1'001 * kMs + 1), given(7));
  std::vector<context::Cancelable> below;
  for (int i = 0; i < 100; ++i) {
    below.push_back(context::with_cancel(parent.context));
    below.push_back(context::with_timeout(below.back().context, 1h));
  }
  g_step = kMs;  // the second look is past the deadline
  parent.cancel(given(3));
  CHECK(parent.context.err() == errc::canceled);
  CHECK(parent.context.cause() == given(3));
  int other = 0;
  for (const auto& c : below)
    if (c.context.err() != parent.context.err() || c.context.cause() != parent.context.cause()) ++other;
  CHECK(other == 0);
}

TEST_CASE("who asks below while a cancel comes down, past the deadline, hears what the parent ended with",
          "[context]") {
  const SteppingClock clock;
  const auto parent = context::with_deadline(context::background(), Deadline::at(1'001 * kMs + 1), given(7));
  const auto middle = context::with_cancel(parent.context);
  const auto child = context::with_cancel(middle.context);
  LookDuringCancel hook;
  hook.child = &child.context;
  hook.run = [](context::detail::DoneHook& h) noexcept {
    auto& self = static_cast<LookDuringCancel&>(h);
    g_now = 2'000 * kMs;
    self.error = self.child->err();
  };
  REQUIRE(context::detail::Access::node(parent.context)->add_hook(hook));
  parent.cancel(given(3));
  CHECK(hook.error == errc::canceled);
  for (const auto* c : {&parent, &middle, &child}) {
    CHECK(c->context.err() == errc::canceled);
    CHECK(c->context.cause() == given(3));
  }
}

TEST_CASE("a deadline of its own that had passed before the parent's cancel stays what ended a child", "[context]") {
  const SteppingClock clock;
  const auto parent = context::with_cancel(context::background());
  const auto child = context::with_timeout(parent.context, 1ms, given(7));
  const auto grandchild = context::with_cancel(child.context);
  g_now += 5 * kMs;
  parent.cancel(given(3));
  CHECK(parent.context.err() == errc::canceled);
  for (const auto* c : {&child, &grandchild}) {
    CHECK(c->context.err() == errc::deadline_exceeded);
    CHECK(c->context.cause() == given(7));
  }
}

TEST_CASE("of two deadlines that passed unseen the child's own, which was first, is what ended it", "[context]") {
  for (const bool parent_first : {true, false}) {
    const SteppingClock clock;
    const auto parent = context::with_timeout(context::background(), 5ms, given(8));
    const auto child = context::with_timeout(parent.context, 1ms, given(7));
    const auto grandchild = context::with_cancel(child.context);
    const auto sibling = context::with_timeout(parent.context, 7ms, given(9));
    g_now += 10 * kMs;
    (void)(parent_first ? parent : grandchild).context.err();
    CHECK(parent.context.cause() == given(8));
    CHECK(sibling.context.cause() == given(8));
    CHECK(child.context.cause() == given(7));
    CHECK(grandchild.context.cause() == given(7));
  }
}

TEST_CASE("who asks below while a cancel comes down hears of its own deadline that had passed before", "[context]") {
  const SteppingClock clock;
  const auto parent = context::with_cancel(context::background());
  const auto child = context::with_timeout(parent.context, 1ms, given(7));
  LookDuringCancel hook;
  hook.child = &child.context;
  hook.run = [](context::detail::DoneHook& h) noexcept {
    auto& self = static_cast<LookDuringCancel&>(h);
    self.error = self.child->err();
  };
  REQUIRE(context::detail::Access::node(parent.context)->add_hook(hook));
  g_now += 5 * kMs;
  parent.cancel(given(3));
  CHECK(hook.error == errc::deadline_exceeded);
  CHECK(child.context.cause() == given(7));
  CHECK(parent.context.cause() == given(3));
}

TEST_CASE("a child of a canceled parent is canceled with its cause, though its own deadline has passed", "[context]") {
  const auto parent = context::with_cancel(context::background());
  parent.cancel(given(3));
  for (const auto& c :
       {context::with_timeout(parent.context, 0ns, given(7)), context::with_timeout(parent.context, -1h),
        context::with_deadline(parent.context, Deadline::at(1)), context::with_timeout(parent.context, 1h)}) {
    CHECK(c.context.err() == errc::canceled);
    CHECK(c.context.cause() == given(3));
  }
}

#include "core/context/context.hpp"

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/base/random.hpp"
#include "core/context/after_func.hpp"
#include "core/context/value.hpp"
#include "core/context/waits.hpp"
#include "core/sync/select.hpp"
#include "tests/unit/go_semantics/support.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using namespace go;
using context::background;
using context::with_cancel;
using context::with_deadline;
using context::with_timeout;
using sync::WaitGroup;

namespace {

bool is_canceled(const context::Context& ctx) { return ctx.err() == context::errc::canceled; }
bool is_late(const context::Context& ctx) { return ctx.err() == context::errc::deadline_exceeded; }

}  // namespace

TEST_CASE("go context: the background is never done and has neither deadline nor values", "[go][context]") {
  const context::Context ctx = background();
  CHECK_FALSE(ctx.done());
  CHECK_FALSE(ctx.err());
  CHECK_FALSE(ctx.cause());
  CHECK(ctx.deadline().is_never());
}

TEST_CASE("go context: cancelling makes it done, once and for all", "[go][context]") {
  in_every_way([](Findings& found) {
    const auto c = with_cancel(background());
    found.check(!c.context.done(), "not yet");
    c.cancel(kReset);
    c.cancel(kRefused);
    found.check(is_canceled(c.context) && c.context.cause() == kReset, "the first counts");
  });
}

TEST_CASE("go context: a child is done with its parent, not the other way round", "[go][context]") {
  in_every_way([](Findings& found) {
    const auto parent = with_cancel(background());
    const auto one = with_cancel(parent.context);
    const auto other = with_cancel(parent.context);
    const auto below = with_cancel(one.context);
    one.cancel();
    found.check(is_canceled(one.context) && is_canceled(below.context), "downwards");
    found.check(!parent.context.done() && !other.context.done(), "not upwards, nor to the side");
    parent.cancel();
    found.check(is_canceled(other.context), "the rest");
  });
}

TEST_CASE("go context: a child of one that is done is done at once", "[go][context]") {
  in_every_way([](Findings& found) {
    const auto parent = with_cancel(background());
    parent.cancel(kReset);
    found.check(is_canceled(with_cancel(parent.context).context), "cancel");
    const auto late = with_timeout(parent.context, -1s);
    found.check(is_canceled(late.context) && late.context.cause() == kReset, "timeout: canceled with its parent");
  });
}

TEST_CASE("go context: a deadline is met when it has passed, not before", "[go][context][time]") {
  in_simulation(50, [](Findings& found) {
    const std::int64_t begin = monotonic_now();
    const auto c = with_deadline(background(), Deadline::in(50ms));
    (void)runtime::sleep_for(49ms);
    found.check(!c.context.done(), "not yet");
    sync::select(sync::on_done(c.context));
    found.check(is_late(c.context), "now");
    const std::int64_t took = monotonic_now() - begin;
    found.check(took >= 50'000'000 && took < 51'000'000, "at its time");
  });
}

TEST_CASE("go context: the earlier of two deadlines holds, whichever is whose", "[go][context][time]") {
  in_simulation(50, [](Findings& found) {
    for (const bool parent_first : {true, false}) {
      const auto parent = with_timeout(background(), parent_first ? 10ms : 1h);
      const auto child = with_timeout(parent.context, parent_first ? 1h : 10ms);
      const std::int64_t begin = monotonic_now();
      sync::select(sync::on_done(child.context));
      found.check(is_late(child.context) && monotonic_now() - begin < 11'000'000, "the earlier one");
      found.check(parent.context.done() == parent_first, "the parent's own");
      child.cancel();
      parent.cancel();
    }
  });
}

TEST_CASE("go context: a timeout that is cancelled is canceled, and stays that", "[go][context][time]") {
  in_simulation(50, [](Findings& found) {
    const auto c = with_timeout(background(), 10ms);
    c.cancel();
    (void)runtime::sleep_for(20ms);
    found.check(is_canceled(c.context), "canceled");
  });
}

TEST_CASE("go context: a deadline in the past is met at once", "[go][context]") {
  in_every_way([](Findings& found) {
    found.check(is_late(with_timeout(background(), 0ns).context), "zero");
    found.check(is_late(with_timeout(background(), -1h).context), "negative");
    found.check(is_late(with_deadline(background(), Deadline::at(1)).context), "long ago");
    found.check(!with_timeout(background(), std::chrono::nanoseconds::max()).context.done(), "never overflows");
  });
}

TEST_CASE("go context: the causes, case by case", "[go][context]") {
  in_every_way([](Findings& found) {
    const auto plain = with_cancel(background());
    found.check(!plain.context.cause(), "none before the end");
    plain.cancel();
    found.check(plain.context.cause() == context::errc::canceled, "without one: the error itself");
    const auto parent = with_cancel(background());
    const auto child = with_cancel(parent.context);
    child.cancel(kReset);
    parent.cancel(kRefused);
    found.check(child.context.cause() == kReset && parent.context.cause() == kRefused, "each its own");
    const auto parent2 = with_cancel(background());
    const auto child2 = with_cancel(parent2.context);
    parent2.cancel(kRefused);
    child2.cancel(kReset);
    found.check(child2.context.cause() == kRefused, "the parent's, which came first");
    const auto late = with_timeout(background(), -1s, kReset);
    found.check(is_late(late.context) && late.context.cause() == kReset, "a deadline's");
    const auto below = with_cancel(late.context);
    found.check(is_late(below.context) && below.context.cause() == kReset, "handed down");
    const auto early = with_timeout(background(), 1h, kReset);
    early.cancel(kRefused);
    found.check(is_canceled(early.context) && early.context.cause() == kRefused, "cancelled before the deadline");
  });
}

TEST_CASE("go context: values are found through every kind of child, the nearest first", "[go][context]") {
  static const context::Key<std::string> name("name");
  static const context::Key<std::string> other("other");
  in_every_way([](Findings& found) {
    const auto outer = context::with_value(background(), name, std::string("outer"));
    const auto c = with_timeout(with_cancel(outer).context, 1h);
    const std::string* const seen = context::value(c.context, name);
    found.check(seen != nullptr && *seen == "outer", "through children");
    const auto inner = context::with_value(c.context, name, std::string("inner"));
    found.check(*context::value(inner, name) == "inner" && *context::value(outer, name) == "outer", "the nearest");
    found.check(context::value(inner, other) == nullptr, "another key of the same type");
    found.check(*context::value(context::without_cancel(inner), name) == "inner", "without_cancel keeps them");
    c.cancel();
  });
}

TEST_CASE("go context: WithoutCancel has no end and no deadline", "[go][context]") {
  in_every_way([](Findings& found) {
    const auto parent = with_timeout(background(), 1h);
    const auto free = context::without_cancel(parent.context);
    const auto below = with_cancel(free);
    parent.cancel();
    found.check(!free.done() && free.deadline().is_never() && !free.cause(), "never");
    found.check(!below.context.done(), "nor those below");
    below.cancel();
    found.check(is_canceled(below.context), "which have ends of their own");
  });
}

TEST_CASE("go context: AfterFunc is called once, on a fiber of its own, when the context is done", "[go][context]") {
  in_every_way([](Findings& found) {
    const auto c = with_cancel(background());
    std::atomic<int> calls{0};
    (void)context::after_func(c.context, [&] { ++calls; });
    let_others_run();
    found.check(calls == 0, "not before");
    c.cancel();
    c.cancel();
    found.check(soon([&] { return calls == 1; }), "then");
    (void)context::after_func(c.context, [&] { ++calls; });
    found.check(soon([&] { return calls == 2; }), "at once when it is done already");
  });
}

TEST_CASE("go context: an AfterFunc that is stopped is not called; stop says who was first", "[go][context]") {
  in_every_way([](Findings& found) {
    const auto c = with_cancel(background());
    std::atomic<int> calls{0};
    const auto stop = context::after_func(c.context, [&] { ++calls; });
    const auto let = context::after_func(c.context, [&] { calls += 10; });
    found.check(stop() && !stop(), "stopped, once");
    c.cancel();
    found.check(soon([&] { return calls == 10; }), "the other one");
    found.check(!let(), "too late");
  });
}

TEST_CASE("go context: a thousand children end with their parent, and leave it when they end first", "[go][context]") {
  in_every_way(
      [](Findings& found) {
        const auto parent = with_cancel(background());
        std::vector<context::Cancelable> children;
        for (int i = 0; i < 1000; ++i) children.push_back(with_cancel(parent.context));
        for (std::size_t i = 0; i < 500; ++i) children[i].cancel(kReset);
        parent.cancel(kRefused);
        for (std::size_t i = 0; i < 1000; ++i)
          found.check(children[i].context.cause() == (i < 500 ? kReset : kRefused), "its cause");
      },
      3);
}

TEST_CASE("go context: many cancel and derive at once", "[go][context]") {
  in_every_way(
      [](Findings& found) {
        const auto root = with_cancel(background());
        std::vector<context::Cancelable> all{root};
        for (std::size_t i = 0; i < 63; ++i) all.push_back(with_cancel(all[i / 2].context));
        WaitGroup group;
        for (const auto& c : all) start(group, [&c] { c.cancel(); });
        for (const auto& c : all)
          start(group, [&] {
            sync::select(sync::on_done(c.context));
            const auto child = with_cancel(c.context);
            found.check(is_canceled(c.context) && is_canceled(child.context), "done");
          });
        group.wait();
      },
      50);
}

TEST_CASE("go context: who waits for the parent and cancels the child does not lock up", "[go][context]") {
  in_every_way([](Findings& found) {
    const auto parent = with_cancel(background());
    const auto child = with_cancel(parent.context);
    WaitGroup group;
    start(group, [&] { parent.cancel(); });
    start(group, [&] {
      sync::select(sync::on_done(child.context));
      child.cancel();
    });
    start(group, [&] {
      sync::select(sync::on_done(parent.context));
      child.cancel();
    });
    group.wait();
    found.check(is_canceled(child.context), "both are done");
  });
}

TEST_CASE("go context: layers of cancels, deadlines and values end as one", "[go][context]") {
  static const context::Key<int> depth("depth");
  in_simulation(500, [](Findings& found) {
    Random random(runtime::random());
    const bool by_time = random.below(2) == 0;
    std::vector<context::Cancelable> layers;
    context::Context ctx = background();
    int values = 0;
    for (int i = 0; i < 40; ++i) {
      switch (random.below(3)) {
        case 0: ctx = layers.emplace_back(with_cancel(ctx)).context; break;
        case 1: ctx = layers.emplace_back(with_timeout(ctx, by_time ? 10ms : 1h)).context; break;
        default: ctx = context::with_value(ctx, depth, ++values);
      }
    }
    if (layers.empty()) return;
    if (values != 0) found.check(*context::value(ctx, depth) == values, "the innermost value");
    if (by_time && ctx.deadline().is_never()) return;
    if (!by_time)
      layers[random.below(static_cast<std::uint32_t>(layers.size()))].cancel();
    else
      (void)runtime::sleep_for(11ms);
    found.check(by_time ? is_late(ctx) : is_canceled(ctx), "the end");
    for (const auto& layer : layers) layer.cancel();
  });
}

TEST_CASE("go context: cancel against deadline: one outcome for the whole tree", "[go][context]") {
  in_simulation(500, [](Findings& found) {
    const auto parent = with_timeout(background(), 1ms);
    std::vector<context::Cancelable> children;
    for (int i = 0; i < 20; ++i) children.push_back(with_cancel(parent.context));
    WaitGroup group;
    start(group, [&] {
      (void)runtime::sleep_for(std::chrono::nanoseconds(999'000 + runtime::random() % 2'000));
      parent.cancel(kReset);
    });
    std::vector<std::error_code> seen(20);
    for (std::size_t i = 0; i < 20; ++i)
      start(group,
            [&, i] { sync::select(sync::on_done(children[i].context, [&](std::error_code e) { seen[i] = e; })); });
    group.wait();
    for (const std::error_code& e : seen) found.check(e == parent.context.err(), "as the parent's");
  });
}

TEST_CASE("go context: a sleep and a blocking call end with their context", "[go][context]") {
  in_every_way([](Findings& found) {
    const auto c = with_cancel(background());
    WaitGroup group;
    std::atomic<int> ended{0};
    start(group, [&] { ended += error_of(context::sleep(c.context, 1h)) == context::errc::canceled ? 1 : 0; });
    let_others_run();
    c.cancel();
    group.wait();
    found.check(ended == 1, "the sleep");
    found.check(error_of(context::sleep(c.context, 1h)) == context::errc::canceled, "one that is done: at once");
    found.check(context::sleep(background(), 1us).has_value(), "slept");
  });
}

TEST_CASE("go context: the cancel function may be called by anybody, at any time, on any thread", "[go][context]") {
  auto c = std::make_optional(with_cancel(background()));
  const context::CancelFunction cancel = c->cancel;
  const context::Context ctx = c->context;
  c.reset();
  std::thread([&] { cancel(kReset); }).join();
  CHECK(ctx.cause() == kReset);
  cancel();
  CHECK(ctx.cause() == kReset);
}

#include "core/context/value.hpp"

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <system_error>

#include "core/context/waits.hpp"
#include "core/runtime/simulation.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using context::Context;
using context::errc;
using context::Key;

namespace {
const Key<std::string> kUser("user");
const Key<std::string> kTrace("user");  // the same name is not the same key
const Key<std::unique_ptr<int>> kMoveOnly("move only");
const Key<std::shared_ptr<int>> kShared("shared");
}  // namespace

TEST_CASE("a value is found from below, by its key alone", "[context][value]") {
  const Context root = context::background();
  CHECK(context::value(root, kUser) == nullptr);
  const Context user = context::with_value(root, kUser, "ada");
  const auto child = context::with_cancel(user);
  const Context both = context::with_value(child.context, kTrace, "4bf9");
  REQUIRE(context::value(both, kUser) != nullptr);
  CHECK(*context::value(both, kUser) == "ada");
  CHECK(*context::value(both, kTrace) == "4bf9");
  CHECK(context::value(child.context, kTrace) == nullptr);
  const Context other = context::with_value(both, kUser, "grace");
  CHECK(*context::value(other, kUser) == "grace");
  CHECK(*context::value(both, kUser) == "ada");
  child.cancel();
  CHECK(*context::value(other, kUser) == "grace");
}

TEST_CASE("a context with a value ends when its parent does", "[context][value]") {
  const auto parent = context::with_timeout(context::background(), 1h);
  const Context valued = context::with_value(parent.context, kUser, "ada");
  const auto child = context::with_cancel(valued);
  CHECK(valued.deadline() == parent.context.deadline());
  CHECK(valued.wait_point() == parent.context.wait_point());
  CHECK_FALSE(valued.done());
  parent.cancel(std::make_error_code(std::errc::connection_reset));
  CHECK(valued.err() == errc::canceled);
  CHECK(valued.cause() == std::errc::connection_reset);
  CHECK(child.context.cause() == std::errc::connection_reset);
  const Context bare = context::with_value(context::background(), kUser, "ada");
  CHECK_FALSE(bare.err());
  CHECK(bare.wait_point() == nullptr);
}

TEST_CASE("values may be move-only, and die with the last handle below them", "[context][value]") {
  const Context c = context::with_value(context::background(), kMoveOnly, std::make_unique<int>(6));
  CHECK(**context::value(c, kMoveOnly) == 6);
  auto shared = std::make_shared<int>(7);
  const std::weak_ptr<int> watch = shared;
  Context below;
  {
    const Context above = context::with_value(context::background(), kShared, std::move(shared));
    below = context::with_cancel(context::with_value(above, kUser, "ada")).context;
  }
  CHECK_FALSE(watch.expired());
  CHECK(**context::value(below, kShared) == 7);
  below = Context();
  CHECK(watch.expired());
}

TEST_CASE("without_cancel keeps the values and nothing else", "[context][value]") {
  const auto parent = context::with_deadline(context::with_value(context::background(), kUser, "ada"), Deadline::at(1));
  CHECK(parent.context.done());
  const Context free = context::without_cancel(parent.context);
  CHECK_FALSE(free.done());
  CHECK(free.deadline().is_never());
  CHECK(free.wait_point() == nullptr);
  CHECK(*context::value(free, kUser) == "ada");
  const auto child = context::with_cancel(free);
  CHECK_FALSE(child.context.done());
  child.cancel();
  CHECK(child.context.err() == errc::canceled);
  CHECK(context::without_cancel(context::background()) == context::background());
}

TEST_CASE("a cancellation passes through long mixed chains, which die without recursion", "[context][value]") {
  const auto root = context::with_cancel(context::background());
  Context leaf = root.context;
  for (int i = 0; i < 100'000; ++i)
    leaf = i % 3 == 0 ? context::with_cancel(leaf).context : context::with_value(leaf, kUser, "x");
  const Context cut = context::without_cancel(leaf);
  root.cancel();
  CHECK(leaf.err() == errc::canceled);
  CHECK_FALSE(cut.done());
}

TEST_CASE("a deadline has a cause of its own, below it too", "[context][cause]") {
  const auto own = std::make_error_code(std::errc::host_unreachable);
  const auto past = context::with_deadline(context::background(), Deadline::at(1), own);
  CHECK(past.context.err() == errc::deadline_exceeded);
  CHECK(past.context.cause() == own);
  std::error_code slept;
  std::error_code cause;
  std::error_code sibling;
  (void)runtime::Simulation(3).run([&] {
    const auto parent = context::with_timeout(context::background(), 10ms, own);
    const auto child = context::with_timeout(parent.context, 1h, std::make_error_code(std::errc::io_error));
    const auto shorter = context::with_timeout(parent.context, 1ms);
    (void)context::sleep(shorter.context, 1h);
    sibling = shorter.context.cause();
    slept = error_of(context::sleep(child.context, 1h));
    cause = child.context.cause();
  });
  CHECK(sibling == errc::deadline_exceeded);
  CHECK(slept == errc::deadline_exceeded);
  CHECK(cause == own);
}

// One upgrade at a time, and each with an answer: also where there is no memory for one.
#include "daemon/upgrade/upgrader.hpp"

#include <catch2/catch.hpp>
#include <new>
#include <optional>

#include "core/context/context.hpp"
#include "tests/support/allocations.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;
using namespace fiberd::daemon::upgrade;

TEST_CASE("an upgrade that finds no memory, not even to say so, has failed, and the next one is tried",
          "[daemon][upgrade]") {
  metric::Registry registry;
  const auto runtime = test::start_runtime(1);
  int tried = 0;
  Upgrader upgrader(*runtime, registry, [&](const Request&) -> Answer {
    if (++tried > 1) return {Answer::Verdict::done, "done\n"};
    test::refuse_allocations_here(true);  // one Processor: all that follows is on this thread
    throw std::bad_alloc();
  });
  upgrader.open();
  std::optional<Answer> first;
  std::optional<Answer> second;
  runtime->run([&] {
    auto answer = upgrader.request_and_wait(context::background(), {});
    test::refuse_allocations_here(false);
    if (answer) first = std::move(*answer);
    answer = upgrader.request_and_wait(context::background(), {});
    if (answer) second = std::move(*answer);
  });
  REQUIRE(first);
  CHECK(first->verdict == Answer::Verdict::failed);
  REQUIRE(second);
  CHECK(second->verdict == Answer::Verdict::done);
  CHECK(tried == 2);
  for (const metric::FamilySnapshot& family : registry.snapshot())
    for (const metric::Sample& s : family.samples)
      CHECK(s.value == (s.labels.front() == "success" || s.labels.front() == "failure" ? 1 : 0));
}

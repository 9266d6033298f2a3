// stacks(), stack(): for programs that want to say where their fibers are.
#include "core/runtime/stacks.hpp"

#include <catch2/catch.hpp>
#include <string>

#include "core/runtime/fiber_list.hpp"
#include "core/runtime/runtime.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;
using namespace fiberd::runtime;

// Not in a nameless namespace: the dynamic linker knows its name.
[[gnu::noinline]] std::string stacks_test_where_i_am();
std::string stacks_test_where_i_am() {
  std::string text = stack();
  text += "";  // no tail call
  return text;
}

namespace {
std::size_t times(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++n;
  return n;
}
}  // namespace

TEST_CASE("stacks tells of every fiber, whom it could not is counted", "[stacks]") {
  CHECK(stacks().empty());
  const auto rt = test::start_runtime(2);
  rt->run([] {
    CancelSource end;
    static constexpr int kMany = 20;
    for (int i = 0; i < kMany; ++i)
      REQUIRE(spawn("a sleeper", [&end] { (void)sleep_for(std::chrono::hours(1), &end); }));
    std::string all;
    for (int i = 0; i < 10'000 && times(all = stacks(), "\"a sleeper\" [sleep") < kMany; ++i) yield();
    INFO(all);
    CHECK(times(all, "\"a sleeper\" [sleep") == kMany);
    CHECK(all.find("\"run\" [running") != std::string::npos);
    CHECK(times(all, "  spawned at ") >= kMany + 1);
    CHECK(times(all, "more of") == 0);

    const std::string some = stacks(2000);
    INFO(some);
    CHECK(some.size() < 2100);
    CHECK(times(some, "  spawned at ") >= 1);
    CHECK(times(some, " more of ") == 1);
    (void)end.cancel();
  });
}

TEST_CASE("stack tells where the caller is", "[stacks]") {
  CHECK(stacks_test_where_i_am().find("where_i_am") != std::string::npos);
  const auto rt = test::start_runtime(1);
  rt->run([] { CHECK(stacks_test_where_i_am().find("where_i_am") != std::string::npos); });
}

// expect_no_leaks as a user's test calls it.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>

#include "core/runtime/runtime.hpp"
#include "core/runtime/testing.hpp"
#include "core/sync/channel.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;
using namespace std::chrono_literals;

TEST_CASE("fibers that are left are named with their place and what they wait for", "[testing]") {
  const auto rt = test::start_runtime(2);
  sync::Channel<int> never;
  std::string told;
  const auto check = testing::expect_no_leaks({.patience = 50ms, .ignore = {"server"}});
  try {
    testing::expect_no_leaks(
        [&] {
          rt->run([&] {
            for (int i = 0; i < 2; ++i)
              if (!runtime::spawn("left behind", [&] { (void)never.receive(); })) return;
            (void)runtime::spawn("server", [&] { (void)never.receive(); });
          });
        },
        {.patience = 50ms, .ignore = {"server"}});
  } catch (const testing::LeakError& e) {
    told = e.what();
  }
  INFO(told);
  CHECK(told.starts_with("2 fibers are left that were spawned meanwhile:\n"));
  CHECK(told.find(" \"left behind\" [channel_receive, ") != std::string::npos);
  CHECK(told.find("  spawned at tests/unit/runtime/testing_test.cpp:") != std::string::npos);
  CHECK(told.find("fiberd::sync::detail::ChannelCore::wait_plainly_in") != std::string::npos);
  CHECK(told.find("\"server\"") == std::string::npos);
  CHECK_FALSE(check.leaks().empty());
  never.close();
  CHECK(check.leaks().empty());
}

TEST_CASE("fibers of before, and those that are on their way out, are no leaks", "[testing]") {
  const auto rt = test::start_runtime(2);
  sync::Channel<int> old;
  REQUIRE(rt->spawn("old", [&] { (void)old.receive(); }));
  sync::Channel<int> go;
  std::string from_a_fiber = "?";
  rt->run([&] {
    const auto check = testing::expect_no_leaks({.patience = 10s});
    for (int i = 0; i < 100; ++i)
      if (!runtime::spawn("leaves", [&] { (void)go.receive(); })) return;
    // It ends them while the check waits.
    if (!runtime::spawn("closes", [&] {
          (void)runtime::sleep_for(5ms);
          go.close();
        }))
      return;
    from_a_fiber = check.leaks();
  });
  CHECK(from_a_fiber.empty());
  CHECK_NOTHROW(testing::expect_no_leaks([&] { rt->run([] {}); }));
  // What the function throws comes through.
  CHECK_THROWS_AS(testing::expect_no_leaks([] { throw std::logic_error("its own"); }), std::logic_error);
  old.close();
}

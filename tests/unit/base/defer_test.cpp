#include "core/base/defer.hpp"

#include <catch2/catch.hpp>

#include <memory>
#include <stdexcept>
#include <vector>

#include "core/base/bug.hpp"
#include "core/base/log.hpp"

using fiberd::defer;

TEST_CASE("defer runs at the end of the scope, the last made first", "[base][defer]") {
  std::vector<int> order;
  {
    const defer first([&] { order.push_back(1); });
    const defer second([&] { order.push_back(2); });
    order.push_back(0);
  }
  CHECK(order == std::vector<int>{0, 2, 1});
}

TEST_CASE("defer runs when an exception leaves the scope, and with what it owns", "[base][defer]") {
  int seen = 0;
  try {
    const defer cleanup([&seen, owned = std::make_unique<int>(7)] { seen = *owned; });
    throw std::runtime_error("away");
  } catch (const std::runtime_error&) {
    CHECK(seen == 7);
  }
}

TEST_CASE("a dismissed defer does nothing", "[base][defer]") {
  bool called = false;
  {
    const defer cleanup([&] { called = true; });
    cleanup.dismiss();
  }
  CHECK_FALSE(called);
}

#ifdef NDEBUG  // a debug build stops at the first bug
TEST_CASE("a deferred function that throws is a bug and no more, also while another exception is on its way",
          "[base][defer]") {
  fiberd::set_log_sink([](fiberd::LogLevel, std::string_view) noexcept {});
  const auto before = fiberd::bug_count();
  bool caught = false;
  try {
    const defer cleanup([] { throw 1; });
    throw std::runtime_error("the first");
  } catch (const std::runtime_error&) {
    caught = true;
  }
  fiberd::set_log_sink(nullptr);
  CHECK(caught);
  CHECK(fiberd::bug_count() == before + 1);
}
#endif

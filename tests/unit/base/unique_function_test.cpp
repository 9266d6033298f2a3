#include "core/base/unique_function.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <memory>
#include <stdexcept>

using fiberd::UniqueFunction;

TEST_CASE("UniqueFunction runs, moves and destroys what it holds, inline and on the heap", "[base]") {
  const auto alive = std::make_shared<int>(0);
  const auto exercise = [&](auto padding) {
    {
      UniqueFunction a([held = alive, padding] { *held += static_cast<int>(padding.size() > 0); });
      CHECK(alive.use_count() == 2);
      UniqueFunction b(std::move(a));
      CHECK_FALSE(static_cast<bool>(a));  // NOLINT: moved-from is empty by contract
      CHECK(alive.use_count() == 2);
      b();
      b();
      UniqueFunction c([held = alive] {});
      CHECK(alive.use_count() == 3);
      c = std::move(b);
      CHECK(alive.use_count() == 2);
      c();
      c.reset();
      CHECK(alive.use_count() == 1);
      CHECK_FALSE(static_cast<bool>(c));
    }
    CHECK(*alive == 3);
    *alive = 0;
  };
  exercise(std::array<char, 8>{});    // inline
  exercise(std::array<char, 200>{});  // heap
  CHECK(alive.use_count() == 1);
}

TEST_CASE("UniqueFunction takes move-only callables and lets exceptions through", "[base]") {
  int got = 0;
  UniqueFunction f([p = std::make_unique<int>(7), &got] { got = *p; });
  f();
  CHECK(got == 7);
  UniqueFunction thrower([] { throw std::runtime_error("x"); });
  CHECK_THROWS_AS(thrower(), std::runtime_error);
  CHECK_FALSE(static_cast<bool>(UniqueFunction()));
}

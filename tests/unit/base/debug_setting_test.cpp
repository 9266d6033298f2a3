// FIBERDEBUG.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <optional>

#include "core/base/debug_setting.hpp"

using fiberd::debug_setting;

TEST_CASE("what stands in FIBERDEBUG behind a name", "[debug_setting]") {
  (void)::unsetenv("FIBERDEBUG");
  CHECK(debug_setting("a") == std::nullopt);
  (void)::setenv("FIBERDEBUG", "a=1,bb=two=2,c,,d=", 1);
  CHECK(debug_setting("a") == "1");
  CHECK(debug_setting("bb") == "two=2");
  CHECK(debug_setting("b") == std::nullopt);
  CHECK(debug_setting("c") == "");
  CHECK(debug_setting("d") == "");
  CHECK(debug_setting("1") == std::nullopt);
  (void)::unsetenv("FIBERDEBUG");
}

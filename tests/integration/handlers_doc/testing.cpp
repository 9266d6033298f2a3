// docs/leaks.md's snippet for tests.
#include <fiberd/core/runtime/runtime.hpp>
#include <fiberd/core/runtime/testing.hpp>
#include <fiberd/core/sync/channel.hpp>

#include <catch2/catch.hpp>
#include <string>

#include "tests/integration/handlers_doc/page.hpp"

using namespace fiberd;

static void serve_one() {}

TEST_CASE("docs/leaks.md: a test that no fiber is left", "[integration][docs]") {
  std::string left = "?";
  fiberd::test::on_fibers([&left] {
    testing::expect_no_leaks([] { serve_one(); });  // throws testing::LeakError, which names each fiber

    const auto check = testing::expect_no_leaks();  // or: from here
    serve_one();
    left = check.leaks();  // to here; empty: none is left
  });
  CHECK(left.empty());
}

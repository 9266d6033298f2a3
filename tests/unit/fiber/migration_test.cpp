#include <catch2/catch.hpp>

#include "tests/unit/fiber/migration_cases.hpp"

using namespace fiberd::fiber::test;

TEST_CASE("a fiber may continue on another thread", "[fiber][context]") {
  const Form form = GENERATE(Form::native, Form::boost);
  for (const MigrationCase& test : migration_cases()) {
    INFO(test.name);
    CHECK(test.run(form) == std::vector<std::string>{});
  }
}

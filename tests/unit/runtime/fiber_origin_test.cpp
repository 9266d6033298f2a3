// Who reads while it is written sees one origin or another, never a part of each.
#include <atomic>
#include <catch2/catch.hpp>
#include <string>
#include <thread>

#include "core/runtime/fiber_origin.hpp"

using namespace fiberd;
using namespace fiberd::runtime;

TEST_CASE("an origin is read whole while others are written", "[fiber_origin]") {
  OriginCell cell;
  FiberOrigin seen;
  CHECK_FALSE(cell.read(seen));  // nobody has written one yet
  const FiberOrigin short_one{1, "a", SourceLocation::current()};
  const FiberOrigin long_one{2, "a longer name", SourceLocation::current()};
  cell.set(short_one);
  std::atomic<bool> over{false};
  std::thread writer([&] {
    while (!over) {
      cell.set(long_one);
      cell.set(short_one);
    }
  });
  int mixed = 0;
  int read = 0;
  for (int i = 0; i < 200'000; ++i) {
    if (!cell.read(seen)) continue;
    ++read;
    const FiberOrigin& whole = seen.id == 1 ? short_one : long_one;
    if (seen.id != whole.id || seen.name != whole.name || seen.where.line() != whole.where.line()) ++mixed;
  }
  over = true;
  writer.join();
  CHECK(mixed == 0);
  CHECK(read > 0);
}

TEST_CASE("an origin as people read it", "[fiber_origin]") {
  CHECK(describe_origin({7, "a\"b\\c\nd", SourceLocation::current()})
            .starts_with("fiber 7 \"a\\\"b\\x5cc\\x0ad\" spawned at tests/unit/runtime/fiber_origin_test.cpp:"));
}

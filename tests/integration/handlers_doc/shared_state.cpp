// docs/handlers.md: state that many handlers share.
#include <catch2/catch.hpp>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "core/sync/atomic_snapshot.hpp"
#include "core/sync/sharded_map.hpp"
#include "tests/integration/handlers_doc/page.hpp"

using namespace fiberd;

TEST_CASE("docs/handlers.md: state that many handlers share", "[integration][docs]") {
  std::string color;
  std::uint64_t visits = 0;
  std::size_t refused = 0;
  test::on_fibers([&] {
    using Settings = std::map<std::string, std::string>;
    sync::AtomicSnapshot<Settings> settings(Settings{{"color", "blue"}});
    settings.update([](const Settings& present) {
      Settings next = present;
      next["color"] = "green";
      return next;
    });
    const auto now = settings.read();  // neither locks nor waits; this version stays as it is while `now` lives
    color = now->at("color");

    sync::ShardedMap<std::string, std::uint64_t> counts(100'000);  // what clients can make us remember is bounded
    const std::string_view key = "/index.html";
    for (int i = 0; i < 3; ++i)
      if (!counts.compute(key, [](std::uint64_t& n) { ++n; })) ++refused;  // full
    visits = counts.load(key).value_or(0);
  });
  CHECK(color == "green");
  CHECK(visits == 3);
  CHECK(refused == 0);
}

#include "core/flow/errc.hpp"

#include <catch2/catch.hpp>
#include <set>
#include <string>

#include "core/context/errc.hpp"
#include "core/flow/refusals.hpp"

using namespace fiberd;
using flow::errc;

TEST_CASE("flow's errors: their own category, distinct texts and tokens, std's conditions", "[errc]") {
  std::set<std::string> texts;
  std::set<std::string_view> tokens;
  for (std::size_t i = 1; i < flow::kReasons; ++i) {
    const std::error_code code = static_cast<errc>(i);
    CHECK(texts.insert(code.message()).second);
    CHECK(tokens.insert(flow::token_of(static_cast<errc>(i))).second);
    CHECK(flow::reason_of(code) == flow::token_of(static_cast<errc>(i)));
    CHECK(std::string(code.category().name()) == "fiberd.flow");
    CHECK(code.default_error_condition().category() == std::generic_category());
  }
  CHECK(tokens.count("unknown") == 0);
  CHECK(make_error_code(errc::queue_timeout) == std::errc::timed_out);
  CHECK(make_error_code(errc::pool_closed) == std::errc::operation_canceled);
  CHECK(make_error_code(errc::rate_limited) == std::errc::resource_unavailable_try_again);
  CHECK(flow::reason_of(context::errc::canceled) == "canceled");
  CHECK(flow::reason_of(context::errc::deadline_exceeded) == "deadline");
  CHECK(flow::reason_of(std::make_error_code(std::errc::io_error)) == "other");
  flow::RefusalCounts counts;
  counts.add(errc::queue_full);
  counts.add(errc::queue_full);
  counts.add(errc::pool_closed);
  CHECK(counts.of(errc::queue_full) == 2);
  CHECK(counts.total() == 3);
}

#include "daemon/services/aggregate/statsd_line.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

using namespace fiberd::daemon::aggregate;

namespace {

StatsdError error_of(std::string_view line) {
  StatsdLine out;
  return parse_statsd_line(line, out);
}

}  // namespace

TEST_CASE("a StatsD line of each type", "[daemon][aggregate][statsd]") {
  struct Row {
    std::string_view line;
    StatsdType type;
    std::vector<double> values;
    double weight = 1;
    std::string_view tags = {};
    std::uint64_t relative = 0;
  };
  const std::vector<Row> rows{
      {"gorets:1|c", StatsdType::counter, {1}},
      {"gorets:1|c|@0.1", StatsdType::counter, {1}, 10},
      {"a.b-c/d_e.5:0.25|c", StatsdType::counter, {0.25}},
      {"5xx:2|c", StatsdType::counter, {2}},
      {"glork:320|ms|@0.1", StatsdType::timer, {320}, 10},
      {"glork:1:2.5:3e2|ms|#a,b:c", StatsdType::timer, {1, 2.5, 300}, 1, "a,b:c"},
      {"h:-1.5|h", StatsdType::histogram, {-1.5}},
      {"d:1|d|#k:v|@0.5", StatsdType::distribution, {1}, 2, "k:v"},
      {"gaugor:333|g", StatsdType::gauge, {333}},
      {"gaugor:-10|g", StatsdType::gauge, {-10}, 1, "", 1},
      {"gaugor:+4|g", StatsdType::gauge, {4}, 1, "", 1},
      {"gaugor:7:+4:-2.5:9|g|@0.5", StatsdType::gauge, {7, 4, -2.5, 9}, 1, "", 6},
      {"big:18446744073709551615|g", StatsdType::gauge, {18446744073709551615.0}},
      {"ns:1e21|g", StatsdType::gauge, {1e21}},
      {"dd:1|c|#env:prod|c:in-1234|e:it-false", StatsdType::counter, {1}, 1, "env:prod"},
      {"t:1|c|#url:/a b?c=d:8080,z:\xc3\xa4", StatsdType::counter, {1}, 1, "url:/a b?c=d:8080,z:\xc3\xa4"},
  };
  for (const Row& row : rows) {
    INFO(row.line);
    StatsdLine line;
    REQUIRE(parse_statsd_line(row.line, line) == StatsdError::none);
    CHECK(line.type == row.type);
    CHECK(line.name == row.line.substr(0, row.line.find(':')));
    CHECK(std::vector<double>(line.values.begin(), line.values.begin() + line.count) == row.values);
    CHECK(line.weight == Approx(row.weight));
    CHECK(line.tags == row.tags);
    CHECK(line.relative == row.relative);
    CHECK(line.tags_in_order);
    CHECK(symbol(line.type) == row.line.substr(row.line.find('|') + 1, symbol(line.type).size()));
  }
  StatsdLine set;
  REQUIRE(parse_statsd_line("uniques:10.0.0.1:80|s|@0.5|#a:b", set) == StatsdError::none);
  CHECK(set.type == StatsdType::set);
  CHECK(set.member == "10.0.0.1:80");
  CHECK(set.count == 0);
  CHECK(set.weight == 1);
}

TEST_CASE("bad StatsD lines are refused, each for its reason", "[daemon][aggregate][statsd]") {
  const std::string name(kMaxName + 1, 'n');
  const std::string tag = "#" + std::string(kMaxTag + 1, 't');
  std::string values = "v:1";
  for (std::size_t i = 0; i < kMaxValues; ++i) values += ":1";
  std::string many_tags = "#t0";
  for (std::size_t i = 1; i <= kMaxTags; ++i) many_tags += ",t" + std::to_string(i);
  std::string large_tags = "#a:" + std::string(kMaxTag - 2, 'x');
  while (large_tags.size() <= kMaxTagsSize) large_tags += ",a:" + std::string(kMaxTag - 2, 'x');
  const std::vector<std::pair<std::string, StatsdError>> rows{
      {"", StatsdError::name},
      {":1|c", StatsdError::name},
      {".a:1|c", StatsdError::name},
      {"a b:1|c", StatsdError::name},
      {"a\xc3\xa4:1|c", StatsdError::name},
      {std::string("a\0b:1|c", 7), StatsdError::name},
      {"_e{5,4}:title|text", StatsdError::name},
      {name + ":1|c", StatsdError::name},
      {"a", StatsdError::value},
      {"a|c", StatsdError::value},
      {"a:|c", StatsdError::value},
      {"a:x|c", StatsdError::value},
      {"a:1x|c", StatsdError::value},
      {"a: 1|c", StatsdError::value},
      {"a:1 |c", StatsdError::value},
      {"a:nan|g", StatsdError::value},
      {"a:NaN|g", StatsdError::value},
      {"a:inf|g", StatsdError::value},
      {"a:-inf|g", StatsdError::value},
      {"a:+inf|g", StatsdError::value},
      {"a:infinity|ms", StatsdError::value},
      {"a:0x10|g", StatsdError::value},
      {"a:1e400|g", StatsdError::value},
      {"a:-1e400|g", StatsdError::value},
      {"a:1.1e21|g", StatsdError::value},
      {"a:1e-400|g", StatsdError::value},
      {"a:1e|g", StatsdError::value},
      {"a:.|g", StatsdError::value},
      {"a:-|g", StatsdError::value},
      {"a:+|g", StatsdError::value},
      {"a:+-1|g", StatsdError::value},
      {"a:--1|g", StatsdError::value},
      {"a:-1|c", StatsdError::value},
      {"a:-0|c", StatsdError::value},
      {"a:+1|c", StatsdError::value},
      {"a:+1|ms", StatsdError::value},
      {"a:1:|ms", StatsdError::value},
      {"a::1|ms", StatsdError::value},
      {values + "|ms", StatsdError::value},
      {"a:|s", StatsdError::value},
      {"a:x\ty|s", StatsdError::value},
      {"a:" + std::string(kMaxMember + 1, 'm') + "|s", StatsdError::value},
      {"a:1", StatsdError::type},
      {"a:1|", StatsdError::type},
      {"a:1|x", StatsdError::type},
      {"a:1|m", StatsdError::type},
      {"a:1|cc", StatsdError::type},
      {"a:1|C", StatsdError::type},
      {"a:1|c:2|ms", StatsdError::type},
      {"a:1|c|@", StatsdError::rate},
      {"a:1|c|@0", StatsdError::rate},
      {"a:1|c|@-0.5", StatsdError::rate},
      {"a:1|c|@1.5", StatsdError::rate},
      {"a:1|c|@1e-7", StatsdError::rate},
      {"a:1|c|@nan", StatsdError::rate},
      {"a:1|c|@x", StatsdError::rate},
      {"a:1|g|@x", StatsdError::rate},
      {"a:1|c|#", StatsdError::tags},
      {"a:1|c|#,", StatsdError::tags},
      {"a:1|c|#a,", StatsdError::tags},
      {"a:1|c|#a,,b", StatsdError::tags},
      {"a:1|c|#:v", StatsdError::tags},
      {"a:1|c|#a:", StatsdError::tags},
      {"a:1|c|#a:,b", StatsdError::tags},
      {"a:1|c|#1a:b", StatsdError::tags},
      {"a:1|c|#a b:c", StatsdError::tags},
      {"a:1|c|#a:b\x01", StatsdError::tags},
      {"a:1|c|#a:b\x7f", StatsdError::tags},
      {"a:1|c|#a:b\xff", StatsdError::tags},
      {"a:1|c|" + tag, StatsdError::tags},
      {"a:1|c|" + many_tags, StatsdError::tags},
      {"a:1|c|" + large_tags, StatsdError::tags},
      {"a:1|c|", StatsdError::section},
      {"a:1|c|x", StatsdError::section},
      {"a:1|c|T1656581400", StatsdError::section},
      {"a:1|c|@0.5|@0.5", StatsdError::section},
      {"a:1|c|#a|#b", StatsdError::section},
      {"a:1|c|#a|", StatsdError::section},
  };
  for (const auto& [line, error] : rows) {
    INFO(line);
    CHECK(to_string(error_of(line)) == to_string(error));
  }
  // Just inside of the bounds.
  CHECK(error_of(std::string(kMaxName, 'n') + ":1|c") == StatsdError::none);
  CHECK(error_of("a:1|c|#" + std::string(kMaxTag, 't')) == StatsdError::none);
  CHECK(error_of("a:" + std::string(kMaxMember, 'm') + "|s") == StatsdError::none);
  CHECK(error_of("a:1|c|@0.000001") == StatsdError::none);
  CHECK(error_of("a:1|c|@1") == StatsdError::none);
}

TEST_CASE("tags are put in order", "[daemon][aggregate][statsd]") {
  StatsdLine line;
  REQUIRE(parse_statsd_line("a:1|c|#b:2,a:1,c", line) == StatsdError::none);
  CHECK_FALSE(line.tags_in_order);
  std::string scratch(line.tags.size(), '?');
  CHECK(sort_tags(line.tags, scratch.data()) == "a:1,b:2,c");
  REQUIRE(parse_statsd_line("a:1|c|#a:1,a:1", line) == StatsdError::none);
  CHECK_FALSE(line.tags_in_order);
  REQUIRE(parse_statsd_line("a:1|c|#a:1,b:1", line) == StatsdError::none);
  CHECK(line.tags_in_order);
}

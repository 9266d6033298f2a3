// What `fiberd top` makes of a status document: rates, quantiles, and lines that fit whatever is in them.
#include <catch2/catch.hpp>
#include <clocale>
#include <cstdlib>
#include <string>

#include "daemon/top/display.hpp"
#include "daemon/top/snapshot.hpp"
#include "daemon/top/view.hpp"

using namespace fiberd::daemon::top;

namespace {

std::string status_at(double at, int requests, const std::string& route = "/") {
  return R"({"schema":1,"monotonic_seconds":)" + std::to_string(at) +
         R"(,"process":{"version":"1","pid":7},"scheduler":{"processors":[{"processor":0,"busy_seconds":)" +
         std::to_string(at / 2) +
         R"(,"queue":3}]},"latency_bounds":[0.001,0.01],"routes":[{"listener":"web","route":")" + route +
         R"(","requests":)" + std::to_string(requests) + R"(,"classes":{"2xx":)" + std::to_string(requests) +
         R"(},"latency":{"buckets":[)" + std::to_string(requests) + R"(,0,0]}}],"fibers":{"sites":[)" +
         R"({"site":"a/b/c.cpp:1","name":")" + route + R"(","count":5,"waiting":5,"oldest_seconds":90,)" +
         R"("oldest_reason":"select"},{"site":"d.cpp:2","name":"x","count":9,"waiting":1,"oldest_seconds":2}]}})";
}
Snapshot snapshot_of(const std::string& text) {
  std::string why;
  auto snapshot = parse_snapshot(text, why);
  INFO(why);
  REQUIRE(snapshot);
  return std::move(*snapshot);
}

}  // namespace

TEST_CASE("rates are differences of two documents", "[daemon][top]") {
  const Snapshot before = snapshot_of(status_at(10, 100));
  const Snapshot now = snapshot_of(status_at(12, 300));
  const Rates rates = rates_between(before, now);
  CHECK(rates.seconds == Approx(2));
  CHECK(rates.requests == Approx(100));
  REQUIRE(rates.load.size() == 1);
  CHECK(rates.load[0] == Approx(0.5));
  REQUIRE(rates.p50);
  CHECK(*rates.p50 == Approx(0.0005));
  // Another process, or a clock that stood: nothing is known.
  CHECK(rates_between(now, now).requests == 0);
  CHECK(rates_between(now, before).requests == 0);
  CHECK_FALSE(rates_between(now, now).p50);
}

TEST_CASE("quantiles lie evenly within their bucket, and at the last bound beyond it", "[daemon][top]") {
  const std::vector<double> bounds{1, 2, 4};
  CHECK_FALSE(quantile({0, 0, 0, 0}, bounds, 0.5));
  CHECK(*quantile({10, 0, 0, 0}, bounds, 0.5) == Approx(0.5));
  CHECK(*quantile({0, 0, 10, 0}, bounds, 0.5) == Approx(3));
  CHECK(*quantile({0, 0, 0, 10}, bounds, 0.99) == Approx(4));
}

TEST_CASE("what is no status document is said to be none", "[daemon][top]") {
  std::string why;
  CHECK_FALSE(parse_snapshot("{", why));
  CHECK_FALSE(parse_snapshot("[]", why));
  CHECK_FALSE(parse_snapshot("{}", why));
  CHECK_FALSE(parse_snapshot(R"({"schema":2})", why));
  CHECK(why.find("another schema") != std::string::npos);
  CHECK_FALSE(parse_snapshot(std::string(10'000, '['), why));
  CHECK(parse_snapshot(R"({"schema":1,"routes":[1,{}],"process":[],"fibers":{"sites":[{"count":"x"}]}})", why));
}

TEST_CASE("text is cut by the columns that it takes, and nothing in it reaches the terminal", "[daemon][top]") {
  CHECK(fit("abc", 5) == "abc  ");
  CHECK(fit("abc", 5, true) == "  abc");
  CHECK(display_width(fit("abcdef", 4)) == 4);
  CHECK(fit("a\x1b[2Jb\nc\x7f", 20) == "a?[2Jb?c?           ");
  CHECK(fit("\xff\xc0", 3) == "?? ");
  // A control character of C1 and one that turns the writing, as UTF-8.
  for (const char* const hostile : {"a\xc2\x9b"
                                    "2Jb",
                                    "a\xe2\x80\xae"
                                    "b"})
    for (const char c : fit(hostile, 10)) CHECK(static_cast<unsigned char>(c) < 0x80);
  // Two columns each, where the locale is one of UTF-8.
  for (std::size_t columns = 0; columns < 12; ++columns)
    CHECK(display_width(fit("日本語テキスト", columns)) == columns);
}

TEST_CASE("a screen has its size, whatever is told", "[daemon][top]") {
  const std::string hostile = "\\u001b[31m日本語日本語日本語日本語日本語日本語日本語日本語日本語\\u202e";
  const Snapshot before = snapshot_of(status_at(10, 100, hostile));
  const Snapshot now = snapshot_of(status_at(12, 300, hostile));
  const Rates rates = rates_between(before, now);
  for (const std::size_t columns : {1UL, 2UL, 14UL, 15UL, 20UL, 40UL, 80UL, 133UL})
    for (const std::size_t rows : {1UL, 2UL, 5UL, 12UL, 24UL, 60UL}) {
      INFO(columns << " × " << rows);
      ViewState state;
      const std::vector<Line> lines = compose(now, rates, state, columns, rows);
      CHECK(lines.size() == rows);
      for (const Line& line : lines) {
        CHECK(display_width(line.text) <= columns);
        CHECK(line.text.find('\x1b') == std::string::npos);
      }
    }
  ViewState state{.sites = Sort::age, .in_sites = true};
  CHECK(site_at(now, state) == "a/b/c.cpp:1");
  state.sites = Sort::fibers;
  CHECK(site_at(now, state) == "d.cpp:2");
  state.cursor = 99;
  (void)compose(now, rates, state, 80, 24);
  CHECK(state.cursor == 1);
}

TEST_CASE("what a busy daemon sums up to is shown whole in 80 columns", "[daemon][top]") {
  Snapshot now;
  now.version = "0.10.1";
  now.pid = 12'345;
  now.uptime_seconds = 86'399;
  now.resident_bytes = 1e9;
  now.open_fds = now.max_fds = 19'876;
  now.threads = 128;
  now.connections = 12'345;
  now.has_leaks = true;
  now.leaks = 12'345;
  now.waiting = now.runnable = now.running = 12'345;
  now.computes = now.blocks = now.robbed = 12'345;
  now.stacks_in_use = 12'345;
  now.stack_reserved = now.stack_resident = 999e6;
  now.latency_bounds = {0.0001, 1};
  Rates rates;
  rates.cpu = 1.99;
  rates.requests = rates.accepted = rates.refused = rates.created = rates.switches = rates.stalls = 98'765;
  rates.steals = 9'876;
  rates.client_errors = rates.server_errors = 12;
  rates.in_flight = 12'345;
  rates.p50 = 0.00005;
  rates.p90 = 0.0001;
  rates.p99 = 0.123;
  ViewState state;
  std::string all;
  for (const Line& line : compose(now, rates, state, 80, 0)) all += line.text + "\n";
  INFO(all);
  CHECK(all.find("…") == std::string::npos);
  // Nobody knows where in the first bucket.
  CHECK(all.find("p50 <100 µs  p90 <100 µs  p99 123 ms") != std::string::npos);
}

TEST_CASE("numbers are short", "[daemon][top]") {
  CHECK(short_count(0) == "0");
  CHECK(short_count(9'999) == "9999");
  CHECK(short_count(12'345) == "12.3k");
  CHECK(short_bytes(1536) == "1.5 KiB");
  CHECK(short_seconds(0.25) == "250 ms");
  CHECK(short_seconds(600) == "10 min");
  CHECK(bar(0.5, 4) == "||  ");
  CHECK(bar(7, 3) == "|||");
}

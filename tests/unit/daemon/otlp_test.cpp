#include "daemon/tracing/otlp.hpp"

#include <catch2/catch.hpp>
#include <ctime>
#include <string>

#include "daemon/tracing/exporter.hpp"
#include "tests/support/json.hpp"

using namespace fiberd;
using daemon::read_answer;

TEST_CASE("a batch is one request of OTLP, with the resource as it was configured", "[daemon][tracing]") {
  config::TracingConfig config;
  config.service_name = "a \"shop\"";
  config.resource = {{"host.name", "ours"}, {"team", "x"}};
  trace::SpanQueue queue(1 << 20);
  trace::SpanQueue::List list;
  REQUIRE(queue.add(list, R"({"a":1})"));
  REQUIRE(queue.add(list, R"({"b":2})"));
  const std::string text = write_request(daemon::make_envelope(config), list);
  queue.drop(list);
  CHECK(test::Json::valid(text));
  CHECK(
      text.find(
          R"({"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"a \"shop\""}})") ==
      0);
  CHECK(text.find(R"("host.name","value":{"stringValue":"ours"})") != std::string::npos);
  CHECK(text.find("host.name", text.find("host.name") + 1) == std::string::npos);
  CHECK(text.ends_with(R"("spans":[{"b":2},{"a":1}]}]}]})"));
}

TEST_CASE("what a collector answers is read, and what is none is told apart", "[daemon][tracing]") {
  for (const char* const good : {"", "{}", "{\"partialSuccess\":null}", "{\"partialSuccess\":{}}", "{\"other\":[1]}"}) {
    INFO(good);
    CHECK(read_answer(good).understood);
    CHECK(read_answer(good).rejected_spans == 0);
  }
  const auto partial =
      read_answer(R"({"partialSuccess":{"rejectedSpans":"18446744073709551615","errorMessage":"no"}})");
  CHECK(partial.understood);
  CHECK(partial.rejected_spans == UINT64_MAX);
  CHECK(partial.message == "no");
  CHECK(read_answer(R"({"partialSuccess":{"rejectedSpans":3}})").rejected_spans == 3);
  std::string deep(100'000, '[');
  for (const std::string& bad :
       {std::string("<html>"), std::string("[]"), std::string("{"), std::string("{}{}"),
        std::string(R"({"partialSuccess":[]})"), std::string(R"({"partialSuccess":{"rejectedSpans":"x"}})"),
        std::string(R"({"partialSuccess":{"rejectedSpans":-1}})"), deep, std::string(1000, '\0')}) {
    INFO(bad.substr(0, 60));
    CHECK_FALSE(read_answer(bad).understood);
  }
}

TEST_CASE("Retry-After is read in both forms, and never asks for more than a day", "[daemon][tracing]") {
  using std::chrono::seconds;
  const std::time_t now = 784'111'777;  // Sun, 06 Nov 1994 08:49:37 GMT
  CHECK(daemon::parse_retry_after("0", now) == seconds(0));
  CHECK(daemon::parse_retry_after(" 120 ", now) == seconds(120));
  CHECK(daemon::parse_retry_after("99999999999999999999999", now) == seconds(86'400));
  CHECK(daemon::parse_retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now) == seconds(60));
  CHECK(daemon::parse_retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now) == seconds(0));
  CHECK(daemon::parse_retry_after("Sun, 06 Nov 2094 08:00:00 GMT", now) == seconds(86'400));
  for (const char* const none : {"", "-1", "1.5", "soon", "1 2", "+3"}) {
    INFO(none);
    CHECK_FALSE(daemon::parse_retry_after(none, now));
  }
}

#include "core/trace/span_text.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <string>

#include "tests/support/json.hpp"

using namespace fiberd;
using trace::Attributes;
using trace::write_span;

namespace {

trace::SpanFacts facts() {
  return {.span = {{0x0af7651916cd43dd, 0x8448eb211c80319c}, {0xb7ad6b7169203331}, true},
          .name = "GET /hello",
          .begin = 1'544'712'660'000'000'000,
          .end = 1'544'712'661'000'000'000};
}

}  // namespace

TEST_CASE("a span is written as OTLP's JSON: hexadecimal ids, numbers for enumerations, texts for 64 bits", "[trace]") {
  CHECK(write_span(facts(), {}) ==
        R"({"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"GET /hello","kind":1,)"
        R"("flags":257,"startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000"})");
  trace::SpanFacts f = facts();
  f.parent = {0x10};
  f.parent_is_remote = true;
  f.kind = trace::SpanKind::server;
  f.status = trace::SpanStatus::error;
  f.message = "no \"room\"";
  f.tracestate = "foo=1";
  f.span.sampled = false;
  Attributes attributes;
  attributes.add("text", "a\nb");
  attributes.add("whole", std::numeric_limits<std::int64_t>::min());
  attributes.add("size", 5U);
  attributes.add("number", 0.5);
  attributes.add("none", std::nan(""));
  attributes.add("much", -HUGE_VAL);
  attributes.add("truth", true);
  Attributes events;
  const trace::Attribute about{"try", 2};
  events.add_event("again", 17, {&about, 1});
  events.add_event("done", 18, {});
  const std::string text = write_span(f, attributes, events);
  CHECK(text == R"({"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331",)"
                R"("parentSpanId":"0000000000000010","traceState":"foo=1","name":"GET /hello","kind":2,"flags":768,)"
                R"("startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000","attributes":[)"
                R"({"key":"text","value":{"stringValue":"a\u000ab"}},)"
                R"({"key":"whole","value":{"intValue":"-9223372036854775808"}},)"
                R"({"key":"size","value":{"intValue":"5"}},{"key":"number","value":{"doubleValue":0.5}},)"
                R"({"key":"none","value":{"doubleValue":"NaN"}},{"key":"much","value":{"doubleValue":"-Infinity"}},)"
                R"({"key":"truth","value":{"boolValue":true}}],"events":[{"timeUnixNano":"17","name":"again",)"
                R"("attributes":[{"key":"try","value":{"intValue":"2"}}]},{"timeUnixNano":"18","name":"done"}],)"
                R"("status":{"code":2,"message":"no \"room\""}})");
  CHECK(test::Json::valid(text));
}

TEST_CASE("a span that would end before it began takes no time", "[trace]") {
  trace::SpanFacts f = facts();
  f.end = f.begin - 5;
  CHECK(write_span(f, {}).find(R"("endTimeUnixNano":"1544712660000000000")") != std::string::npos);
}

TEST_CASE("a span is bounded, and what was left out is counted in it", "[trace]") {
  Attributes many;
  for (int i = 0; i != 40; ++i) many.add("k" + std::to_string(i), i);
  CHECK(many.dropped() == 8);
  CHECK(many.text().find("k31") != std::string::npos);
  CHECK(many.text().find("k32") == std::string::npos);
  CHECK(write_span(facts(), many).find(R"("droppedAttributesCount":8)") != std::string::npos);

  Attributes large;
  for (int i = 0; i != 30; ++i) large.add("k", std::string(100'000, '\x01'));
  CHECK(large.text().size() <= trace::kMostText);
  CHECK(large.dropped() == 28);  // each byte is six
  Attributes small;
  small.add(std::string(1000, 'k'), std::string(5000, 'v'));
  CHECK(small.text().size() < trace::kMostName + trace::kMostValue + 64);

  Attributes events;
  const trace::Attribute about{"what", "x"};
  for (int i = 0; i != 50; ++i) events.add_event("e", i, {&about, 1});
  CHECK(events.dropped() == 18);
  const std::string text = write_span(facts(), {}, events);
  CHECK(text.find(R"("droppedEventsCount":18)") != std::string::npos);
  CHECK(test::Json::valid(text));
}

TEST_CASE("texts of others stay in their strings, whatever they are", "[trace]") {
  Attributes attributes;
  const std::string evil = std::string("\"},{\"key\":\"x\\\0\xff\xed\xa0\x80\n\x7f", 20) + "ä";
  attributes.add(evil, evil);
  trace::SpanFacts f = facts();
  f.name = evil;
  f.status = trace::SpanStatus::error;
  f.message = evil;
  const std::string text = write_span(f, attributes);
  CHECK(test::Json::valid(text));
  CHECK(text.find("ä") != std::string::npos);
  CHECK(text.find("\\u0000\xef\xbf\xbd") != std::string::npos);
  // A text is not cut within a character.
  Attributes cut;
  std::string wide;
  for (int i = 0; i != 600; ++i) wide += "ä";
  cut.add("w", "x" + wide);
  CHECK(cut.text().find("\xef\xbf\xbd") == std::string::npos);
}

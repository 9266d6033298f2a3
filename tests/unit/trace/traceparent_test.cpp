// The cases of W3C's own test suite for Trace Context (test/test.py there, by what each asks of a receiver), and some
// of our own.
#include "core/trace/traceparent.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "core/runtime/simulation.hpp"

using namespace fiberd;
using trace::parse_traceparent;

namespace {

constexpr const char* kTrace = "12345678901234567890123456789012";
constexpr const char* kSpan = "1234567890123456";

struct Case {
  const char* about;
  std::string text;
  bool taken;
  bool sampled = true;
};

std::vector<Case> cases() {
  const std::string t = kTrace;
  const std::string s = kSpan;
  return {
      {"plain", "00-" + t + "-" + s + "-01", true},
      {"not sampled", "00-" + t + "-" + s + "-00", true, false},
      {"other flags alone", "00-" + t + "-" + s + "-02", true, false},
      {"all flags", "00-" + t + "-" + s + "-ff", true},
      {"blanks around it", " \t00-" + t + "-" + s + "-01 \t", true},
      {"version 0x00 with more behind it", "00-" + t + "-" + s + "-01-what-the-future-will-be-like", false},
      {"version 0x00 with a dash behind it", "00-" + t + "-" + s + "-01-", false},
      {"version 0x00 with something behind it", "00-" + t + "-" + s + "-01.", false},
      {"version 0xcc", "cc-" + t + "-" + s + "-01", true},
      {"version 0xcc with more behind it", "cc-" + t + "-" + s + "-01-what-the-future-will-be-like", true},
      {"version 0xcc with more that does not begin with a dash", "cc-" + t + "-" + s + "-01.what", false},
      {"version 0xcc and a long flag", "cc-" + t + "-" + s + "-0100", false},
      {"version 0xff", "ff-" + t + "-" + s + "-01", false},
      {"version with a bad character", ".0-" + t + "-" + s + "-01", false},
      {"version with a bad second character", "0.-" + t + "-" + s + "-01", false},
      {"version in upper case", "CC-" + t + "-" + s + "-01", false},
      {"version too long", "000-" + t + "-" + s + "-01", false},
      {"version too short", "0-" + t + "-" + s + "-01", false},
      {"trace id all zero", "00-" + std::string(32, '0') + "-" + s + "-01", false},
      {"trace id with a bad first character", "00-." + t.substr(1) + "-" + s + "-01", false},
      {"trace id with a bad last character", "00-" + t.substr(1) + ".-" + s + "-01", false},
      {"trace id in upper case", "00-ABCDEF78901234567890123456789012-" + s + "-01", false},
      {"trace id too long", "00-" + t + "3-" + s + "-01", false},
      {"trace id too short", "00-" + t.substr(1) + "-" + s + "-01", false},
      {"parent id all zero", "00-" + t + "-0000000000000000-01", false},
      {"parent id with a bad first character", "00-" + t + "-." + s.substr(1) + "-01", false},
      {"parent id with a bad last character", "00-" + t + "-" + s.substr(1) + ".-01", false},
      {"parent id in upper case", "00-" + t + "-ABCDEF7890123456-01", false},
      {"parent id too long", "00-" + t + "-" + s + "7-01", false},
      {"parent id too short", "00-" + t + "-" + s.substr(1) + "-01", false},
      {"flags with a bad first character", "00-" + t + "-" + s + "-.0", false},
      {"flags with a bad second character", "00-" + t + "-" + s + "-0.", false},
      {"flags in upper case", "00-" + t + "-" + s + "-0F", false},
      {"flags too long", "00-" + t + "-" + s + "-001", false},
      {"flags too short", "00-" + t + "-" + s + "-1", false},
      {"underscores for dashes", "00_" + t + "_" + s + "_01", false},
      {"no flags", "00-" + t + "-" + s, false},
      {"empty", "", false},
      {"dashes", "----", false},
      {"a NUL in the trace id", "00-" + std::string("\0", 1) + t.substr(1) + "-" + s + "-01", false},
      {"bytes above 127", "00-\xff" + t.substr(1) + "-" + s + "-01", false},
      {"very long", std::string(100'000, '0'), false},
  };
}

std::string state_of(const std::vector<std::string>& fields) {
  std::string state;
  std::size_t members = 0;
  for (const std::string& f : fields)
    if (!trace::append_tracestate(f, state, members)) return "none";
  trace::bound_tracestate(state);
  return state;
}

}  // namespace

TEST_CASE("traceparent is read as W3C's tests want it", "[trace]") {
  for (const Case& c : cases()) {
    INFO(c.about << ": " << c.text.substr(0, 100));
    const auto span = parse_traceparent(c.text);
    REQUIRE(span.has_value() == c.taken);
    if (!span) continue;
    CHECK(span->sampled == c.sampled);
    const auto id = trace::text_of(span->trace_id);
    CHECK(std::string(id.data(), id.size()) == kTrace);
    const auto parent = trace::text_of(span->span_id);
    CHECK(std::string(parent.data(), parent.size()) == kSpan);
  }
}

TEST_CASE("traceparent is written as it is read, and flags that nobody knows are not passed on", "[trace]") {
  const trace::SpanContext span{{0x00ff, 0xabcdef}, {0x10}, true};
  const auto text = trace::write_traceparent(span);
  CHECK(std::string(text.data(), text.size()) == "00-00000000000000ff0000000000abcdef-0000000000000010-01");
  CHECK(parse_traceparent({text.data(), text.size()}) == span);
  const auto other = parse_traceparent("00-00000000000000ff0000000000abcdef-0000000000000010-fe");
  REQUIRE(other);
  const auto again = trace::write_traceparent(*other);
  CHECK(std::string(again.data() + 53, 2) == "00");
}

TEST_CASE("tracestate is read as W3C's tests want it", "[trace]") {
  CHECK(state_of({"foo=1,bar=2"}) == "foo=1,bar=2");
  CHECK(state_of({"foo=1", "bar=2"}) == "foo=1,bar=2");
  CHECK(state_of({"foo=1,", "", ",bar=2"}) == "foo=1,bar=2");
  CHECK(state_of({""}).empty());
  CHECK(state_of({" foo=1 \t,\t bar=2 "}) == "foo=1,bar=2");
  CHECK(state_of({"foo= 1,bar=2"}) == "foo= 1,bar=2");
  CHECK(state_of({"foo=1,foo=2"}) == "foo=1,foo=2");  // as the standard leaves it
  CHECK(state_of({"foo@=1,bar=2"}) == "none");
  CHECK(state_of({"@foo=1,bar=2"}) == "none");
  CHECK(state_of({"foo@@bar=1,bar=2"}) == "none");
  CHECK(state_of({"foo@bar@baz=1,bar=2"}) == "none");
  CHECK(state_of({"foo =1"}) == "none");
  CHECK(state_of({"FOO=1"}) == "none");
  CHECK(state_of({"foo.bar=1"}) == "none");
  CHECK(state_of({"foo"}) == "none");
  CHECK(state_of({"=1"}) == "none");
  CHECK(state_of({"foo=,bar=3"}) == "none");
  CHECK(state_of({"foo=bar=baz"}) == "none");
  CHECK(state_of({"1a-2f@foo=bar1"}) == "1a-2f@foo=bar1");
  CHECK(state_of({"1foo=1"}) == "none");
  CHECK(state_of({std::string(256, 'z') + "=1"}) == std::string(256, 'z') + "=1");
  CHECK(state_of({std::string(257, 'z') + "=1"}) == "none");
  CHECK(state_of({std::string(241, 't') + "@" + std::string(14, 'v') + "=1"}).size() == 258);
  CHECK(state_of({std::string(242, 't') + "@v=1"}) == "none");
  CHECK(state_of({"t@" + std::string(15, 'v') + "=1"}) == "none");
  CHECK(state_of({"foo=" + std::string(256, 'v')}).size() == 260);
  CHECK(state_of({"foo=" + std::string(257, 'v')}) == "none");
  CHECK(state_of({"abcdefghijklmnopqrstuvwxyz0123456789_-*/= !\"#$%&'()*+-./0123456789:;<>?@AZ[\\]^_`az{|}~"}).size() ==
        86);
  CHECK(state_of({"foo=\x01"}) == "none");
  CHECK(state_of({"foo=\xc3\xa4"}) == "none");
}

TEST_CASE("of a tracestate 32 members are taken, and of what is long the large ones go first", "[trace]") {
  std::string many = "bar01=01";
  for (int i = 2; i <= 32; ++i) many += ",bar" + std::to_string(i) + "=" + std::to_string(i);
  CHECK(state_of({many}) == many);
  CHECK(state_of({many + ",bar33=33"}) == "none");
  CHECK(state_of({many, "bar33=33"}) == "none");

  std::string large;
  for (int i = 0; i != 10; ++i) large += (i == 0 ? "k" : ",k") + std::to_string(i) + "=" + std::string(250, 'v');
  const std::string cut = state_of({"first=1," + large + ",last=2"});
  CHECK(cut.size() <= trace::kMostState);
  CHECK(cut.starts_with("first=1,k0="));
  CHECK(cut.ends_with(",last=2"));
  CHECK(cut.find("k9=") == std::string::npos);

  std::string small;
  for (int i = 0; i != 32; ++i) small += (i == 0 ? "k" : ",k") + std::to_string(i) + "=" + std::string(100, 'v');
  const std::string kept = state_of({small});
  CHECK(kept.size() <= trace::kMostState);
  CHECK(kept.size() > trace::kMostState - 110);
  CHECK(small.starts_with(kept));
}

TEST_CASE("ids are random, never zero, and of a simulation its seed's", "[trace]") {
  const auto draw = [](std::uint64_t seed) {
    std::vector<std::uint64_t> drawn;
    runtime::Simulation sim(seed);
    sim.run([&] {
      for (int i = 0; i != 100; ++i) {
        const trace::TraceId id = trace::make_trace_id();
        const trace::SpanId span = trace::make_span_id();
        drawn.insert(drawn.end(), {id.high, id.low, span.value});
      }
    });
    return drawn;
  };
  const auto first = draw(1);
  CHECK(first == draw(1));
  CHECK(first != draw(2));
  for (const std::uint64_t value : first) REQUIRE(value != 0);
}

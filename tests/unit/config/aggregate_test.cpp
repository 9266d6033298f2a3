// listeners[].aggregate: what is taken, and what is refused with its place.
#include <algorithm>
#include <catch2/catch.hpp>

#include "config/config.hpp"

using namespace fiberd::config;
using namespace std::chrono_literals;

namespace {

std::string with(const std::string& aggregate, const std::string& around = "") {
  return "listeners:\n- name: stats\n  address: \"127.0.0.1:8125\"\n" + around + "  aggregate: " + aggregate + "\n";
}

}  // namespace

TEST_CASE("a listener that aggregates", "[config][aggregate]") {
  const Outcome o =
      load_text(with("{protocol: both, series: 7, set_members: 9, flush_interval: 500ms, expire: 0s, "
                     "percentiles: [0.25, 0.999], line_size: 1KiB, receive_buffer: 4MiB, "
                     "timeouts: {idle: 5s}, limits: {connections: 3, connections_per_address: 2}, "
                     "flush: [{statsd: \"127.0.0.1:8126\"}, {statsd: \"tcp://stats.example.org:8125\"}, "
                     "{statsd: \"udp://[::1]:8125\"}, {prometheus: \"http://127.0.0.1:9091/metrics/job/x\"}, "
                     "{prometheus: \"http://[::1]/api?a=b\"}]}"),
                "f.yaml");
  for (const Diagnostic& d : o.diagnostics) INFO(d.to_string());
  REQUIRE(o.ok());
  const auto& a = std::get<AggregateConfig>(o.config.listeners.at(0).service);
  CHECK(a.protocol == AggregateProtocol::both);
  CHECK(a.series == 7);
  CHECK(a.set_members == 9);
  CHECK(a.flush_interval == 500ms);
  CHECK(a.expire == 0s);
  CHECK(a.percentiles == std::vector<std::pair<std::string, double>>{{"0.25", 0.25}, {"0.999", 0.999}});
  CHECK(a.line_size == 1024);
  CHECK(a.receive_buffer == 4U << 20U);
  CHECK(a.idle_timeout == 5s);
  CHECK(a.connections == 3);
  CHECK(a.connections_per_address == 2);
  REQUIRE(a.flush.size() == 5);
  CHECK(a.flush[0].statsd == "127.0.0.1:8126");
  CHECK(a.flush[3].prometheus == "http://127.0.0.1:9091/metrics/job/x");
  CHECK(load_text(with("{}"), "f.yaml").ok());
  CHECK(load_text(with("{percentiles: []}"), "f.yaml").ok());
  const Outcome udp = load_text(with("{protocol: udp, receive_buffer: 4MiB}"), "f.yaml");
  REQUIRE(udp.ok());
  CHECK(std::get<AggregateConfig>(udp.config.listeners.at(0).service).protocol == AggregateProtocol::udp);
}

TEST_CASE("what is wrong with a listener that aggregates", "[config][aggregate]") {
  struct Bad {
    std::string yaml;
    std::string key;  // below listeners[0].
    std::string message;
  };
  const std::vector<Bad> rows{
      {with("{protocol: sctp}"), "aggregate.protocol", "one of"},
      {with("{protocol: udp, timeouts: {idle: 5s}}"), "aggregate.timeouts", "TCP"},
      {with("{protocol: udp, limits: {connections: 5}}"), "aggregate.limits", "TCP"},
      {with("{protocol: tcp, receive_buffer: 4MiB}"), "aggregate.receive_buffer", "UDP"},
      {with("{flush: [{statsd: \"$UP:8125\"}]}"), "aggregate.flush[0].statsd", "$UP"},
      {with("{flush: [{statsd: \"[1:2]:8125\"}]}"), "aggregate.flush[0].statsd", "not an IPv6 address"},
      {with("{flush: [{statsd: \"a{b:8125\"}]}"), "aggregate.flush[0].statsd", "not a host name"},
      {with("{series: 0}"), "aggregate.series", "range"},
      {with("{serie: 5}"), "aggregate.serie", "series"},
      {with("{percentiles: [x]}"), "aggregate.percentiles", "not a number in 0 … 1"},
      {with("{percentiles: [nan]}"), "aggregate.percentiles", "not a number in 0 … 1"},
      {with("{percentiles: [99]}"), "aggregate.percentiles", "not a number in 0 … 1"},
      {with("{percentiles: [0.9, 0.5]}"), "aggregate.percentiles", "not above"},
      {with("{percentiles: [0.5, 0.50]}"), "aggregate.percentiles", "not above"},
      {with("{percentiles: [0, .1, .2, .3, .4, .5, .6, .7, .8, .81, .82, .83, .84, .85, .86, .87, .9]}"),
       "aggregate.percentiles", "at most 16"},
      {with("{flush: [{}]}"), "aggregate.flush[0]", "exactly one"},
      {with("{flush: [{statsd: \"a:1\", prometheus: \"http://a/b\"}]}"), "aggregate.flush[0]", "exactly one"},
      {with("{flush: [{statsd: a}]}"), "aggregate.flush[0].statsd", "no port"},
      {with("{flush: [{statsd: \"a:0\"}]}"), "aggregate.flush[0].statsd", "not a port"},
      {with("{flush: [{statsd: \":1\"}]}"), "aggregate.flush[0].statsd", "no host"},
      {with("{flush: [{statsd: \"::1:80\"}]}"), "aggregate.flush[0].statsd", "brackets"},
      {with("{flush: [{statsd: \"[::1:80\"}]}"), "aggregate.flush[0].statsd", "bracket"},
      {with("{flush: [{statsd: \"http://a:1\"}]}"), "aggregate.flush[0].statsd", ""},
      {with("{flush: [{prometheus: \"ftp://a/b\"}]}"), "aggregate.flush[0].prometheus", "http"},
      {with("{flush: [{prometheus: \"http://a\"}]}"), "aggregate.flush[0].prometheus", "no path"},
      {with("{flush: [{prometheus: \"http://a:x/b\"}]}"), "aggregate.flush[0].prometheus", "not a port"},
      {with("{flush: [{prometheus: \"http:///b\"}]}"), "aggregate.flush[0].prometheus", "no host"},
      {with("{flush: [{prometheus: \"http://u@a/b\"}]}"), "aggregate.flush[0].prometheus", "a user and a password"},
      {with("{flush: [{prometheus: \"http://a;b/c\"}]}"), "aggregate.flush[0].prometheus", "not a host name"},
      {with("{flush: [{prometheus: \"http://a/b c\"}]}"), "aggregate.flush[0].prometheus", "blanks"},
      {with("{flush: [{prometheus: \"http://a/b\\r\\nX: y\"}]}"), "aggregate.flush[0].prometheus", "control"},
      {with("{}", "  tcp: {echo: {}}\n"), "", "exactly one of http, tcp, aggregate"},
      {with("{}", "  reuseport: true\n"), "reuseport", "protocol: tcp"},
      {"listeners: [{name: s, address: \"unix:/x\", aggregate: {}}]", "aggregate", "tcp only"},
      {"listeners: [{name: \"s*\", address: \"127.0.0.1:1\", aggregate: {}}]", "name", "letters"},
  };
  for (const Bad& bad : rows) {
    INFO(bad.yaml);
    const Outcome o = load_text(bad.yaml, "f.yaml");
    REQUIRE(o.diagnostics.size() == 1);
    INFO(o.diagnostics[0].to_string());
    CHECK(o.diagnostics[0].key.starts_with("listeners[0]" + (bad.key.empty() ? "" : "." + bad.key)));
    CHECK(o.diagnostics[0].message.find(bad.message) != std::string::npos);
    CHECK(o.diagnostics[0].line != 0);
  }
}

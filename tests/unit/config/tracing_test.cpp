#include <catch2/catch.hpp>
#include <string>

#include "tests/unit/config/loading.hpp"

using namespace fiberd::config;
using namespace std::chrono_literals;

namespace {

std::string wrong(const std::string& tracing) { return all(load("tracing: " + tracing + "\n" + kListener)); }

}  // namespace

TEST_CASE("tracing is off unless an endpoint is written, and then has its defaults", "[config][tracing]") {
  CHECK_FALSE(load(kListener).config.tracing.on());
  const Outcome o = load("tracing: {endpoint: \"http://127.0.0.1:4318/v1/traces\"}\n" + kListener);
  INFO(all(o));
  REQUIRE(o.ok());
  const TracingConfig& t = o.config.tracing;
  CHECK(t.on());
  TracingConfig expected;
  expected.endpoint = "http://127.0.0.1:4318/v1/traces";
  CHECK(t == expected);
}

TEST_CASE("tracing: all keys", "[config][tracing]") {
  const Outcome o = load(
      "tracing:\n  endpoint: \"http://otel.example:4318/v1/traces\"\n"
      "  sample: {ratio: 0.5, parent: false, errors: never, slow: 500ms, per_second: 7, spans: 9}\n"
      "  service_name: shop\n  resource: {a.b: c}\n  headers_file: /etc/headers\n"
      "  batch: {spans: 10, delay: 2s}\n  queue: 1MiB\n  timeout: 3s\n" +
      kListener);
  INFO(all(o));
  REQUIRE(o.ok());
  const TracingConfig& t = o.config.tracing;
  CHECK(t.ratio == 0.5);
  CHECK_FALSE(t.parent);
  CHECK_FALSE(t.errors);
  CHECK(t.slow == 500ms);
  CHECK(t.per_second == 7);
  CHECK(t.spans == 9);
  CHECK(t.service_name == "shop");
  CHECK(t.resource == std::vector<std::pair<std::string, std::string>>{{"a.b", "c"}});
  CHECK(t.headers_file == "/etc/headers");
  CHECK(t.batch_spans == 10);
  CHECK(t.batch_delay == 2s);
  CHECK(t.queue == 1024 * 1024);
  CHECK(t.timeout == 3s);
}

TEST_CASE("tracing: what is wrong is said with its place and a remedy", "[config][tracing]") {
  const std::string on = "{endpoint: \"http://a:1/\", ";
  CHECK(wrong("{sample: {ratio: 1}}").starts_with("f.yaml:1:"));
  CHECK(wrong("{sample: {ratio: 1}}").find("tracing.sample: has no effect: tracing.endpoint is not set") !=
        std::string::npos);
  CHECK(wrong("{endpoint: \"https://a:1/\", tls: {ca: a.pem}}").empty());
  CHECK(wrong(on + "tls: {ca: a.pem}}").find("tracing.tls.ca: has no effect: tracing.endpoint is not an https://") !=
        std::string::npos);
  CHECK(wrong("{endpoint: \"https://a:1/\", tls: {key: a.pem}}").find("goes with the other") != std::string::npos);
  CHECK(wrong("{endpoint: \"https://a:1/\", tls: {ca: \"$HOME/a\"}}").find("tracing.tls.ca") != std::string::npos);
  CHECK(wrong("{endpoint: \"http://me:hunter2@a:1/\"}").find("a user and a password before the host") !=
        std::string::npos);
  CHECK(wrong("{endpoint: \"a:4318\"}").find("must begin with http:// or https://") != std::string::npos);
  CHECK(wrong("{endpoint: \"http://a:4318\"}").find("has no path") != std::string::npos);
  CHECK(wrong(on + "sample: {ratio: 2}}").find("tracing.sample.ratio: \"2\" is not a share of all") !=
        std::string::npos);
  CHECK(wrong(on + "sample: {ratio: -0.1}}").find("is not a share") != std::string::npos);
  CHECK(wrong(on + "sample: {ratio: nan}}").find("is not a share") != std::string::npos);
  CHECK(wrong(on + "sample: {ratio: 0, parent: false, errors: never}}").find("nothing is ever sampled") !=
        std::string::npos);
  CHECK(wrong(on + "service_name: \"\"}").find("has 1 … 128 bytes") != std::string::npos);
  CHECK(wrong(on + "resource: {service.name: x}}").find("is said by tracing.service_name") != std::string::npos);
  CHECK(wrong(on + "headers_file: \"$HOME/h\"}").find("headers_file") != std::string::npos);
  CHECK(wrong(on + "queue: 1KiB}").find("tracing.queue") != std::string::npos);
  CHECK(wrong(on + "sample: {errors: sometimes}}").find("tracing.sample.errors") != std::string::npos);
  CHECK(wrong(on + "timeout: 0s}").find("tracing.timeout") != std::string::npos);
}

// Which logs of a listener are one, and which a reload keeps.
#include "daemon/services/access_logs.hpp"

#include <catch2/catch.hpp>

#include "tests/support/daemon.hpp"

using namespace fiberd;
using config::AccessLogConfig;
using config::AccessLogFormat;

TEST_CASE("equal settings are one log, within a listener and over a reload", "[daemon][access_log]") {
  const test::TemporaryDirectory directory;
  metric::Registry registry;
  daemon::AccessLogWriters writers;
  std::string why;
  const AccessLogConfig json{.format = AccessLogFormat::json, .output = directory.path() + "/log"};
  AccessLogConfig sampled = json;
  sampled.sample = 0.5;
  AccessLogConfig written = json;
  written.format = AccessLogFormat::written;
  written.line = "${status}";
  const auto make = [&](daemon::AccessLogs& logs, const AccessLogConfig& config, const daemon::AccessLogs* before) {
    const auto hook = logs.make(config, "web", registry, writers, before, why);
    REQUIRE(hook);
    return hook->argument;
  };
  daemon::AccessLogs first;
  void* const one = make(first, json, nullptr);
  CHECK(one != nullptr);
  CHECK(make(first, json, nullptr) == one);
  AccessLogConfig elsewhere = json;
  elsewhere.output_at = {"f.yaml", 7, 1, "x"};  // where it was written makes no difference
  CHECK(make(first, elsewhere, nullptr) == one);
  void* const two = make(first, sampled, nullptr);
  CHECK(two != one);
  CHECK(make(first, {}, nullptr) == nullptr);
  CHECK(first.all().size() == 2);

  daemon::AccessLogs second;
  CHECK(make(second, json, &first) == one);
  CHECK(make(second, sampled, &first) == two);
  void* const three = make(second, written, &first);
  CHECK(three != one);
  CHECK(three != two);
  CHECK(second.all().size() == 3);

  daemon::AccessLogs third;
  AccessLogConfig nowhere = json;
  nowhere.output = directory.path() + "/no/such/log";
  CHECK_FALSE(third.make(nowhere, "web", registry, writers, &second, why));
  CHECK(why.find("No such file") != std::string::npos);
  written.line = std::string(5'000, 'x');
  CHECK(third.make(written, "web", registry, writers, &second, why).error() == std::errc::message_size);
  CHECK(third.all().empty());
}

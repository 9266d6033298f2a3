// What `fiberd status` makes of two status documents.
#include <catch2/catch.hpp>
#include <cstdio>
#include <string>

#include "daemon/commands/status.hpp"
#include "daemon/commands/style.hpp"

using fiberd::daemon::commands::Paint;
using fiberd::daemon::commands::render_status;
using fiberd::daemon::commands::render_status_json;
namespace top = fiberd::daemon::top;

namespace {

top::Snapshot snapshot_at(double at, int accepted, const std::string& more, const std::string& name = "web") {
  std::string why;
  auto snapshot = top::parse_snapshot(
      R"({"schema":1,"monotonic_seconds":)" + std::to_string(at) +
          R"(,"process":{"version":"1.2","pid":7,"uptime_seconds":90,"now_seconds":1000},"listeners":[{"listener":")" +
          name + R"(","connections":5,"active":2,"idle":3,"accepted":)" + std::to_string(accepted) +
          R"(,"refused":0}])" + more + "}",
      why);
  INFO(why);
  REQUIRE(snapshot);
  return std::move(*snapshot);
}

std::string screen(const top::Snapshot& before, const top::Snapshot& now) {
  return render_status(now, top::rates_between(before, now), before, Paint(stdout));
}

bool shows(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("status: rates of listeners, their addresses, the last reload", "[daemon][status]") {
  const std::string more =
      R"(,"configuration":{"last_reload_successful":0,"last_success_seconds":940,"reloads":{"success":2,"failure":1}},)"
      R"("daemon":{"ready":true,"configuration":"/etc/f.yaml","listening":[)"
      R"({"listener":"web","address":"127.0.0.1:80","what":"http"},{"listener":"web","address":"[::1]:80","what":"http"},)"
      R"({"listener":"new","address":"unix:/x","what":"tcp echo"}]})";
  const top::Snapshot before = snapshot_at(10, 100, more);
  const top::Snapshot now = snapshot_at(12, 300, more);
  const std::string text = screen(before, now);
  INFO(text);
  CHECK(shows(text, "fiberd 1.2  pid 7  up 1 min  ready\n"));
  CHECK(shows(text, "configuration  /etc/f.yaml\n"));
  CHECK(shows(text, "last reload    refused; what serves was loaded 1 min ago (2 done, 1 refused)\n"));
  CHECK(shows(text, "web      127.0.0.1:80       5      2    100      0  http\n         [::1]:80\n"));
  CHECK(shows(text, "new      unix:/x"));
  CHECK(shows(text, "  tcp echo\n"));
  const std::string json = render_status_json(now, top::rates_between(before, now), before);
  CHECK(shows(json, R"("ready":true)"));
  CHECK(shows(json, R"("last_reload":{"successful":false,"loaded_at_seconds":940,"done":2,"refused":1})"));
  CHECK(shows(json, R"("listener":"web","what":"http","addresses":["127.0.0.1:80","[::1]:80"])"));
  CHECK(shows(json, R"("accepted_per_second":100)"));
}

TEST_CASE("status: the certificate that ends first", "[daemon][status]") {
  const auto at = [](const char* end) {
    const std::string more =
        std::string(R"(,"daemon":{"ready":true,"configuration":"x","listening":[],"certificates":[)"
                    R"({"listener":"web","file":"/a\u001b.pem","names":"a","not_after_seconds":)") +
        end + R"(},{"listener":"web","file":"/b.pem","names":"b","not_after_seconds":9e9}]})";
    const top::Snapshot now = snapshot_at(10, 1, more);
    return screen(now, now);
  };
  CHECK(shows(at("1e9"), "certificates   the first to end: /a"));
  CHECK(shows(at("1e9"), ".pem of web, in "));
  CHECK(shows(at("1"), "it has ended"));
  CHECK_FALSE(shows(at("1"), "/b.pem"));
  CHECK_FALSE(shows(at("1"), "\x1b"));
}

TEST_CASE("status: a fiberd of before knows less; nothing that it tells moves the cursor", "[daemon][status]") {
  const top::Snapshot now = snapshot_at(10, 1, "", "a\\u001b[2Jb");
  const std::string text = screen(now, now);
  CHECK(shows(text, "unknown: a fiberd of before"));
  CHECK_FALSE(shows(text, "ready"));
  CHECK_FALSE(shows(text, "\x1b"));
  const top::Snapshot hostile = snapshot_at(10, 1,
                                            R"(,"daemon":{"ready":false,"configuration":"x\u001b[2Jy","listening":[)"
                                            R"({"listener":"web","address":"\u001b]0;t\u0007","what":"\u009b2J"}]})");
  const std::string drawn = screen(hostile, hostile);
  CHECK(shows(drawn, "not ready"));
  CHECK_FALSE(shows(drawn, "\x1b"));
  CHECK_FALSE(shows(drawn, "\xc2\x9b"));
}

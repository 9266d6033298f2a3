#include "daemon/upgrade/page.hpp"

#include <array>
#include <climits>
#include <string_view>
#include <utility>

#include "core/base/printable.hpp"
#include "core/base/units.hpp"
#include "core/http/handlers.hpp"
#include "daemon/admin/plain_text.hpp"

namespace fiberd::daemon::upgrade {

std::string render_request(const Request& request) {
  std::string body;
  if (!request.binary.empty()) body += "binary " + request.binary + "\n";
  if (!request.signature.empty()) body += "signature " + request.signature + "\n";
  if (request.rollback_after.count() != 0)
    body += "rollback_after " +
            std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(request.rollback_after).count()) +
            "ms\n";
  return body;
}

bool parse_request(std::string_view body, Request& request, std::string& why) {
  while (!body.empty()) {
    const std::string_view line = body.substr(0, body.find('\n'));
    body.remove_prefix(std::min(body.size(), line.size() + 1));
    const std::size_t blank = line.find(' ');
    const std::string_view key = line.substr(0, blank);
    const std::string value(blank == std::string_view::npos ? std::string_view() : line.substr(blank + 1));
    if (line.empty()) continue;
    if (key == "binary" || key == "signature") {
      if (!value.starts_with('/') || value.find('\0') != std::string::npos) {
        why = std::string(key) + " " + quoted(value, 64) + ": a whole path";
        return false;
      }
      (key == "binary" ? request.binary : request.signature) = value;
    } else if (key == "rollback_after") {
      const auto parsed = parse_duration(value);
      if (!parsed || *parsed < kShortestStandby || *parsed > kLongestStandby) {
        why = "rollback_after " + quoted(value, 64) + ": a time between 1s and 1h";
        return false;
      }
      request.rollback_after = *parsed;
    } else {
      why = "no " + quoted(key, 64) + "; there are binary, signature and rollback_after, a line each";
      return false;
    }
  }
  return true;
}

namespace {

class UpgradeHandler final : public http::Handler {
 public:
  explicit UpgradeHandler(const AdminState& state) : state_(state) {}
  Result<void> serve(http::Exchange& exchange) override {
    static constexpr std::size_t kMost = 2 * PATH_MAX + 100;
    if (!state_.upgrade) return exchange.respond(501, kPlainText, "upgrade: not here\n");
    std::string body;
    for (;;) {
      const Result<std::string_view> piece = exchange.read_body();
      if (!piece) return fail(piece.error());
      if (piece->empty()) break;
      body += *piece;
      if (body.size() > kMost) return exchange.respond(413, kPlainText, "upgrade: a body is three lines at most\n");
    }
    Request request;
    std::string why;
    if (!parse_request(body, request, why)) return exchange.respond(400, kPlainText, "upgrade: " + why + "\n");
    const Result<Answer> answer = state_.upgrade(exchange.context(), std::move(request));
    if (!answer) {
      // A FIN says as much of who reads on; he is not told that something failed.
      if (exchange.client_context().cause() == std::errc::connection_aborted)
        return exchange.respond(202, kPlainText,
                                "upgrade: it goes on, but the client has ended its side of the connection and is not "
                                "waited for; the log tells what comes of it\n");
      return fail(answer.error());
    }
    static constexpr std::array<unsigned, 6> kStatus{200, 422, 502, 502, 409, 503};
    const unsigned status = answer->forbidden ? 403 : kStatus[static_cast<std::size_t>(answer->verdict)];
    return exchange.respond(status, kPlainText, answer->text);
  }

 private:
  const AdminState& state_;
};

}  // namespace

http::Route page(const AdminState& state) {
  http::Route route;
  route.spec.path = "/upgrade";
  route.spec.methods = http::MethodSet::of(http::Method::post);
  route.handler = std::make_shared<UpgradeHandler>(state);
  route.request_timeout = std::chrono::hours(3);  // upgrade.timeout and the standby are what bounds it
  return route;
}

}  // namespace fiberd::daemon::upgrade

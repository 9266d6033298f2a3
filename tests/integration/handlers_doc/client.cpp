// docs/handlers.md: asking other servers.
#include <array>
#include <catch2/catch.hpp>
#include <string>
#include <utility>

#include "core/http/client/client.hpp"
#include "core/sync/error_group.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;

namespace {

class Overview final : public http::Handler {
 public:
  explicit Overview(std::array<std::string, 3> backends) : backends_(std::move(backends)) {}

  Result<void> serve(http::Exchange& exchange) override {
    std::array<std::string, 3> parts;
    sync::ErrorGroup group(exchange.context());  // with the request's deadline, and its client's patience
    for (std::size_t i = 0; i < parts.size(); ++i)
      group.go("ask", [&, i]() -> Result<void> {
        Result<http::ClientResponse> answer = client_.get(group.context(), backends_[i]);
        if (!answer) return fail(answer.error());
        if (answer->status() != 200) return fail(std::errc::protocol_error);
        Result<std::string> text = answer->read_all(group.context(), 64 * 1024);
        if (!text) return fail(text.error());
        parts[i] = std::move(*text);
        return {};
      });
    // The first that fails ends the others: their requests are cancelled, and their connections closed.
    if (const Result<void> asked = group.wait(); !asked)
      return exchange.respond_error(asked.error() == std::errc::timed_out ? 504 : 502);
    return exchange.respond(200, "text/plain", parts[0] + parts[1] + parts[2]);
  }

 private:
  const std::array<std::string, 3> backends_;
  http::Client client_;  // one for all requests: it keeps connections
};

Result<std::string> upload(const context::Context& ctx, http::Client& client, std::string_view url) {
  auto pushed = client.begin(ctx, {.method = http::Method::put, .url = url});  // in chunks: no length was said
  if (!pushed) return fail(pushed.error());
  for (int i = 3; i != 0 && !pushed->answered(); --i)
    if (const auto sent = pushed->write(ctx, std::to_string(i) + "\n"); !sent) return fail(sent.error());
  auto answer = pushed->finish(ctx);
  if (!answer) return fail(answer.error());
  std::string text;
  for (;;) {
    const Result<std::string_view> piece = answer->read_body(ctx);
    if (!piece) return fail(piece.error());
    if (piece->empty()) return text;
    text += *piece;
  }
}

}  // namespace

TEST_CASE("docs/handlers.md: asking other servers", "[integration][docs]") {
  const auto route = [](std::string path, std::shared_ptr<http::Handler> handler) {
    http::Route r;
    r.spec.path = std::move(path);
    r.handler = std::move(handler);
    return r;
  };
  const auto says = [](std::string text) {
    return test::handler([text](http::Exchange& ex) { return ex.respond(200, "text/plain", text); });
  };
  const auto echo = test::handler([](http::Exchange& ex) -> Result<void> {
    std::string all;
    for (;;) {
      const Result<std::string_view> piece = ex.read_body();
      if (!piece) return fail(piece.error());
      if (piece->empty()) break;
      all += *piece;
    }
    return ex.respond(200, "text/plain", all);
  });
  // Backends and the handler that asks them, on one runtime; their port is known only when they listen.
  std::shared_ptr<Overview> overview;
  std::shared_ptr<Overview> broken;
  const auto through = [](std::shared_ptr<Overview>& to) {
    return test::handler([&to](http::Exchange& ex) { return to->serve(ex); });
  };
  test::HttpServer server({route("/a", says("one ")), route("/b", says("two ")), route("/c", says("three")),
                           route("/all", through(overview)), route("/broken", through(broken)), route("/echo", echo)});
  const std::string base = "http://127.0.0.1:" + std::to_string(server.port());
  overview = std::make_shared<Overview>(std::array<std::string, 3>{base + "/a", base + "/b", base + "/c"});
  broken = std::make_shared<Overview>(std::array<std::string, 3>{base + "/a", base + "/none", base + "/c"});
  {
    test::HttpClient client(server.port());
    CHECK(client.ask(test::get("/all"))->body == "one two three");
    CHECK(client.ask(test::get("/all"))->body == "one two three");
    CHECK(client.ask(test::get("/broken"))->status == 502);
  }
  Result<std::string> uploaded;
  server.runtime().run([&] {
    http::Client client;
    uploaded = upload(context::background(), client, base + "/echo");
    overview = broken = nullptr;
  });
  CHECK(uploaded == "3\n2\n1\n");
}

// The code of docs/handlers.md about the contexts of a request, compiled and run.
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>

#include "core/context/after_func.hpp"
#include "core/context/value.hpp"
#include "core/http/exchange.hpp"
#include "core/net/listener.hpp"
#include "core/net/tcp_stream.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace std::chrono_literals;

namespace {

// clang-format off
const context::Key<std::string> kTrace("trace id");

Result<void> ask(const context::Context& ctx, const net::Endpoint& backend, std::string& answer) {
  Result<net::TcpStream> stream = net::TcpStream::connect(ctx, backend);
  if (!stream) return fail(stream.error());
  const std::string* const trace = context::value(ctx, kTrace);
  const std::string question = (trace != nullptr ? *trace : "none") + "\n";
  if (const auto sent = stream->write_all(ctx, std::as_bytes(std::span(question))); !sent) return sent;
  std::array<std::byte, 256> buffer;
  const Result<std::size_t> n = stream->read_some(ctx, buffer);
  if (!n) return fail(n.error());
  answer.assign(reinterpret_cast<const char*>(buffer.data()), *n);
  return {};
}

class Relay final : public http::Handler {
 public:
  explicit Relay(net::Endpoint backend) : backend_(backend) {}
  Result<void> serve(http::Exchange& exchange) override {
    const context::Context traced = context::with_value(exchange.context(), kTrace, "4bf92f35");
    const context::Cancelable call = context::with_timeout(traced, 1s);
    std::string answer;
    const Result<void> asked = ask(call.context, backend_, answer);
    call.cancel();
    if (error_of(asked) == context::errc::deadline_exceeded) return exchange.respond_error(504);
    if (!asked) return asked;
    return exchange.respond(200, "text/plain; charset=utf-8", answer);
  }

 private:
  const net::Endpoint backend_;
};
// clang-format on

}  // namespace

TEST_CASE("the relay of docs/handlers.md", "[integration][docs]") {
  test::HttpServer first({});
  std::atomic<bool> mute{false};
  auto backend = net::Listener::bind(first.runtime(), *net::Endpoint::parse("127.0.0.1:0"), {});
  REQUIRE(backend);
  REQUIRE((*backend)->serve([&mute](net::TcpStream stream) {
    std::array<std::byte, 256> buffer;
    const auto n = stream.read_some(buffer, Deadline::in(5s));
    if (!n) return;
    if (mute)
      (void)stream.read_some(buffer, Deadline::in(5s));  // until who asked gives up
    else
      (void)stream.write_all(std::span(buffer).first(*n), Deadline::in(5s));
  }));
  auto server =
      http::Server::make({}, {{.spec = {.path = "/"}, .handler = std::make_shared<Relay>((*backend)->local())}});
  REQUIRE(server);
  auto front = net::Listener::bind(first.runtime(), *net::Endpoint::parse("127.0.0.1:0"), {});
  REQUIRE(front);
  REQUIRE((*front)->start(&http::Server::on_accept, server->get()));
  {
    test::HttpClient client((*front)->local().port());
    const auto answer = client.ask(test::get("/"));
    REQUIRE(answer);
    CHECK(answer->body == "4bf92f35\n");
    mute = true;
    const auto late = client.ask(test::get("/"));
    REQUIRE(late);
    CHECK(late->status == 504);
  }
  first.runtime().run([&] {
    (*front)->stop();
    (*backend)->stop();
    const std::atomic<std::int64_t> until{Deadline::in(5s).ns()};
    (void)(*server)->stop(until);
  });
  front->reset();
  backend->reset();
}

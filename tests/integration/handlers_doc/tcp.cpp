// docs/handlers.md: TCP handlers.
#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>

#include "core/net/listener.hpp"
#include "core/net/tcp_stream.hpp"
#include "core/runtime/runtime.hpp"
#include "daemon/handlers.hpp"
#include "daemon/services/tcp_server.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace std::chrono_literals;

namespace {

void reverse_lines(const context::Context& ctx, net::TcpStream& stream) {
  std::string line;
  std::array<std::byte, 1024> buffer;
  for (;;) {
    stream.set_read_deadline(Deadline::in(30s));
    const Result<std::size_t> n = stream.read_some(ctx, buffer);
    if (!n || *n == 0) return;  // timed out, reset, or the client has said all
    for (const std::byte b : std::span(buffer).first(*n)) {
      if (b != std::byte{'\n'}) {
        if (line.size() == 1024) return;  // what a client can make us remember is bounded
        line.push_back(static_cast<char>(b));
        continue;
      }
      const std::string answer = std::string(line.rbegin(), line.rend()) + "\n";
      if (!stream.write_all(ctx, std::as_bytes(std::span(answer)), Deadline::in(10s))) return;
      line.clear();
    }
  }
}

}  // namespace

TEST_CASE("docs/handlers.md: TCP handlers", "[integration][docs]") {
  auto runtime = runtime::Runtime::start({.gomaxprocs = 2});
  REQUIRE(runtime.has_value());
  daemon::TcpServer server("reverse", daemon::make_tcp_handler(&reverse_lines), {});
  auto listener = net::Listener::bind(**runtime, *net::Endpoint::parse("127.0.0.1:0"), {});
  REQUIRE(listener.has_value());
  REQUIRE((*listener)->start(&daemon::TcpServer::on_accept, &server));
  {
    test::HttpClient client((*listener)->local().port());
    client.send("abc\nde");
    client.send("f\n");
    while (client.rest().size() < 8 && client.more()) {
    }
    CHECK(client.rest() == "cba\nfed\n");
    client.send(std::string(2000, 'x'));
    CHECK_FALSE(client.more());
  }
  std::size_t cut = 1;
  (*runtime)->run([&] {
    (*listener)->stop();
    const std::atomic<std::int64_t> until{Deadline::in(5s).ns()};
    cut = server.stop(until);
  });
  CHECK(cut == 0);
  listener->reset();
}

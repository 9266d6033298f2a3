// docs/handlers.md: the core without the daemon, with the one include that the page names for it.
#include <fiberd/core.hpp>

#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

using namespace fiberd;
using namespace std::chrono_literals;

TEST_CASE("docs/handlers.md: a server without the daemon", "[integration][docs]") {
  std::string answer;
  auto runtime = runtime::Runtime::start({.gomaxprocs = 2});
  if (!runtime) throw std::system_error(runtime.error());
  http::Route route;
  route.spec.path = "/greeting";
  route.handler = http::make_handler(
      [](http::Exchange& exchange) { return exchange.respond(200, "text/plain", "hello from a fiber\n"); });
  auto server = http::Server::make({}, {route});
  if (!server) throw std::system_error(server.error());
  auto listener = net::Listener::bind(**runtime, *net::Endpoint::parse("127.0.0.1:0"), {});
  if (!listener) throw std::system_error(listener.error());

  const Result<void> started = (*listener)->start(&http::Server::on_accept, server->get());

  (*runtime)->run([&] {
    Result<net::TcpStream> stream = net::TcpStream::connect((*listener)->local(), Deadline::in(5s));
    if (!stream) throw std::system_error(stream.error());
    stream->set_read_deadline(Deadline::in(5s));
    const std::string_view request = "GET /greeting HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    if (!stream->write_all(std::as_bytes(std::span(request)))) return;
    std::array<std::byte, 4096> buffer;
    for (;;) {
      const Result<std::size_t> n = stream->read_some(buffer);
      if (!n || *n == 0) break;
      answer.append(reinterpret_cast<const char*>(buffer.data()), *n);
    }
  });

  (*runtime)->run([&] {
    (*listener)->stop();
    const std::atomic<std::int64_t> until{Deadline::in(5s).ns()};  // then what is open is cut
    (void)(*server)->stop(until);
  });
  listener->reset();
  runtime->reset();
  CHECK(started);
  CHECK(answer.starts_with("HTTP/1.1 200 OK\r\n"));
  CHECK(answer.ends_with("hello from a fiber\n"));
}

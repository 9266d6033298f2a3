// The code of docs/handlers.md, compiled and run. What stands there stands here, word for word.
#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "core/context/context.hpp"
#include "core/context/waits.hpp"
#include "core/http/exchange.hpp"
#include "core/http/server.hpp"
#include "core/net/listener.hpp"
#include "core/net/tcp_stream.hpp"
#include "core/runtime/runtime.hpp"
#include "tests/support/daemon.hpp"

using namespace fiberd;

// clang-format off
class Greeting final : public http::Handler {
 public:
  std::error_code serve(http::Exchange& exchange) override {
    // One context for all that this request waits for: it ends when the request's time is up.
    const context::Cancelable request = context::with_deadline(context::background(), exchange.deadline());
    if (const std::error_code error = context::sleep(request.context, std::chrono::milliseconds(1))) return error;
    return exchange.respond(200, "text/plain; charset=utf-8", "hello from a fiber\n");
  }
};
// clang-format on

TEST_CASE("the server of docs/handlers.md", "[integration][docs]") {
  std::string answer;
  // clang-format off
auto runtime = runtime::Runtime::start({.gomaxprocs = 2});
if (!runtime) throw std::system_error(runtime.error());
http::Route route;
route.spec.path = "/greeting";
route.handler = std::make_shared<Greeting>();
auto server = http::Server::make({}, {route});
if (!server) throw std::system_error(server.error());
auto listener = net::Listener::bind(**runtime, *net::Endpoint::parse("127.0.0.1:0"), {});
if (!listener) throw std::system_error(listener.error());

const std::error_code error = (*listener)->start(
    [](void* argument, int fd, void* place) noexcept {
      static_cast<http::Server*>(argument)->serve(fd, &net::Listener::release, place);
    },
    server->get());

(*runtime)->run([&] {
  Result<net::TcpStream> stream = net::TcpStream::connect((*listener)->local(), Deadline::in(std::chrono::seconds(5)));
  if (!stream) throw std::system_error(stream.error());
  stream->set_read_deadline(Deadline::in(std::chrono::seconds(5)));
  const std::string_view request = "GET /greeting HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  if (!stream->write_all(std::as_bytes(std::span(request)))) return;
  std::array<std::byte, 4096> buffer;
  for (;;) {
    const Result<std::size_t> n = stream->read_some(buffer);
    if (!n || *n == 0) break;
    answer.append(reinterpret_cast<const char*>(buffer.data()), *n);
  }
});
  // clang-format on
  (*runtime)->run([&] {
    (*listener)->stop();
    const std::atomic<std::int64_t> until{Deadline::in(std::chrono::seconds(5)).ns()};
    (void)(*server)->stop(until);
  });
  CHECK_FALSE(error);
  CHECK(answer.starts_with("HTTP/1.1 200 OK\r\n"));
  CHECK(answer.ends_with("hello from a fiber\n"));
  listener->reset();
  runtime->reset();
}

TEST_CASE("each snippet of docs/handlers.md is in this file", "[integration][docs]") {
  const std::string page = test::read_file(FIBERD_SOURCE_DIR "/docs/handlers.md");
  const std::string code =
      test::read_file(__FILE__) + test::read_file(FIBERD_SOURCE_DIR "/tests/integration/handlers_doc/contexts.cpp");
  std::size_t snippets = 0;
  for (std::size_t at = page.find("```cpp\n"); at != std::string::npos; at = page.find("```cpp\n", at)) {
    at += 7;
    const std::size_t end = page.find("```", at);
    INFO(page.substr(at, end - at));
    CHECK(code.find(page.substr(at, end - at)) != std::string::npos);
    ++snippets;
    at = end + 3;
  }
  CHECK(snippets == 5);
}

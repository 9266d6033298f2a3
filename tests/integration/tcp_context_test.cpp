// The context that a TCP handler is given.
#include <sys/socket.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <system_error>
#include <thread>

#include "core/base/lock.hpp"
#include "core/context/waits.hpp"
#include "core/net/listener.hpp"
#include "core/runtime/runtime.hpp"
#include "daemon/handlers.hpp"
#include "daemon/services/tcp_server.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

bool reaches(const std::atomic<int>& n, int value) {
  for (int i = 0; i < 15'000 && n < value; ++i) std::this_thread::sleep_for(1ms);
  return n >= value;
}

}  // namespace

TEST_CASE("a TCP connection's context ends with a reset and with a hard stop, not with a FIN", "[integration][tcp]") {
  std::atomic<int> inside{0};
  std::atomic<int> ended{0};
  Lock lock;
  std::error_code cause;
  auto runtime = runtime::Runtime::start({.gomaxprocs = 2});
  REQUIRE(runtime);
  daemon::TcpServer server("waits", daemon::make_tcp_handler([&](const context::Context& ctx, net::TcpStream&) {
                             ++inside;
                             (void)context::sleep(ctx, 30s);
                             {
                               const LockGuard guard(lock);
                               cause = ctx.cause();
                             }
                             ++ended;
                           }),
                           {});
  auto listener = net::Listener::bind(**runtime, *net::Endpoint::parse("127.0.0.1:0"), {});
  REQUIRE(listener);
  REQUIRE((*listener)->start(&daemon::TcpServer::on_accept, &server));
  {
    HttpClient client((*listener)->local().port());
    REQUIRE(reaches(inside, 1));
    client.finish_sending();
    std::this_thread::sleep_for(50ms);  // nothing is to happen, which cannot be waited for
    CHECK(ended == 0);
    const linger now{1, 0};
    (void)::setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  REQUIRE(reaches(ended, 1));
  CHECK(cause == std::errc::connection_reset);

  HttpClient second((*listener)->local().port());
  REQUIRE(reaches(inside, 2));
  std::size_t cut = 0;
  (*runtime)->run([&] {
    (*listener)->stop();
    const std::atomic<std::int64_t> until{Deadline::in(20ms).ns()};
    cut = server.stop(until);
  });
  CHECK(cut == 1);
  CHECK(ended == 2);
  CHECK(cause == context::errc::canceled);
  listener->reset();
}

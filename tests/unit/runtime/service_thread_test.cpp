#include "core/runtime/service_thread.hpp"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <catch2/catch.hpp>
#include <memory>
#include <semaphore>

#include "core/runtime/runtime.hpp"
#include "core/runtime/simulation.hpp"
#include "core/runtime/use_fiber.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;
using namespace fiberd::runtime;
using namespace std::chrono_literals;
namespace asio = boost::asio;

TEST_CASE("signals reach their callback on the service thread", "[service]") {
  ServiceThread service;
  std::binary_semaphore came{0};
  std::atomic<int> last{0};
  std::atomic<int> replaced{0};
  for (int signo : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) {
    REQUIRE(service.on_signal(signo, [&](int s) {
      last = s;
      came.release();
    }));
    kill(getpid(), signo);
    came.acquire();
    CHECK(last == signo);
  }
  REQUIRE(service.on_signal(SIGHUP, [&](int) {
    ++replaced;
    came.release();
    throw std::runtime_error("a callback that throws does not end the service");
  }));
  for (int i = 0; i < 2; ++i) {
    kill(getpid(), SIGHUP);
    came.acquire();
  }
  CHECK(replaced == 2);
  CHECK(error_of(service.on_signal(SIGKILL, [](int) {})) == std::errc::invalid_argument);
}

TEST_CASE("a service thread never used has no thread and ends", "[service]") {
  const ServiceThread service;
  SUCCEED();
}

TEST_CASE("use_fiber waits for a timer and gives up at its deadline", "[service]") {
  std::error_code waited = std::make_error_code(std::errc::io_error);
  std::error_code late;
  std::error_code canceled;
  std::error_code past;
  std::int64_t took = 0;
  test::start_runtime(2)->run([&] {
    asio::steady_timer timer(current_service_thread().io_context());
    timer.expires_after(3ms);
    const std::int64_t begin = monotonic_now();
    waited = error_of(timer.async_wait(use_fiber));
    took = monotonic_now() - begin;
    timer.expires_after(1h);
    late = error_of(timer.async_wait(use_fiber(Deadline::in(2ms))));
    past = error_of(timer.async_wait(use_fiber(Deadline::at(1))));
    CancelSource c;
    (void)spawn("cancel", [&c] { c.cancel(); });
    canceled = error_of(timer.async_wait(use_fiber(Deadline::never(), &c)));
  });
  CHECK_FALSE(waited);
  CHECK(took >= 3'000'000);
  CHECK(late == std::errc::timed_out);
  CHECK(past == std::errc::timed_out);
  CHECK(canceled == std::errc::operation_canceled);
}

TEST_CASE("use_fiber: values, composed operations, errors", "[service]") {
  Result<std::size_t> written = 0U;
  Result<std::size_t> read = 0U;
  Result<std::size_t> late = 0U;
  Result<std::size_t> eof = 0U;
  std::string text(100'000, 'x');
  std::string got(100'000, ' ');
  test::start_runtime(2)->run([&] {
    auto& io = current_service_thread().io_context();
    asio::local::stream_protocol::socket a(io);
    asio::local::stream_protocol::socket b(io);
    asio::local::connect_pair(a, b);
    std::atomic<bool> reader_done{false};
    (void)spawn("reader", [&] {
      read = asio::async_read(b, asio::buffer(got), use_fiber(Deadline::in(10s)));
      reader_done = true;
    });
    written = asio::async_write(a, asio::buffer(text), use_fiber);
    while (!reader_done) (void)sleep_for(1ms);
    const auto buffer = std::make_shared<std::array<char, 16>>();
    late = asio::async_read(b, asio::buffer(*buffer), use_fiber(Deadline::in(2ms)));
    a.close();
    eof = b.async_read_some(asio::buffer(*buffer), use_fiber(Deadline::in(10s)));
  });
  CHECK(written == text.size());
  CHECK(read == text.size());
  CHECK(got == text);
  CHECK(late.error() == std::errc::timed_out);
  CHECK_FALSE(eof);
}

TEST_CASE("use_fiber: post, many values, exceptions, dropped handlers", "[service]") {
  std::error_code posted = std::make_error_code(std::errc::io_error);
  Result<std::tuple<int, std::string>> many = fail(std::errc::io_error);
  Result<int> one = 0;
  bool threw = false;
  std::error_code dropped;
  test::start_runtime(2)->run([&] {
    auto& io = current_service_thread().io_context();
    posted = error_of(asio::post(io, use_fiber));
    many = asio::async_initiate<const UseFiber, void(boost::system::error_code, int, std::string)>(
        [&io](auto handler) {
          asio::post(io,
                     [h = std::move(handler)]() mutable { h(boost::system::error_code(), 4, std::string("four")); });
        },
        use_fiber);
    one = asio::async_initiate<const UseFiber, void(int)>([](auto handler) { handler(11); }, use_fiber);
    try {
      (void)asio::async_initiate<const UseFiber, void(std::exception_ptr, int)>(
          [](auto handler) { handler(std::make_exception_ptr(std::runtime_error("x")), 0); }, use_fiber);
    } catch (const std::runtime_error&) {
      threw = true;
    }
    dropped = error_of(
        asio::async_initiate<const UseFiber, void()>([](auto handler) { auto gone = std::move(handler); }, use_fiber));
  });
  CHECK_FALSE(posted);
  REQUIRE(many);
  CHECK(*many == std::tuple<int, std::string>(4, "four"));
  CHECK(one == 11);
  CHECK(threw);
  CHECK(dropped == std::errc::operation_canceled);
}

TEST_CASE("completion and give-up race: one outcome, nothing used after its end", "[service]") {
  constexpr int kRounds = 1000;
  int done = 0;
  int late = 0;
  test::start_runtime(2)->run([&] {
    for (int i = 0; i < kRounds; ++i) {
      asio::steady_timer timer(current_service_thread().io_context());
      timer.expires_after(std::chrono::microseconds(i % 50));
      const std::error_code e =
          error_of(timer.async_wait(use_fiber(Deadline::in(std::chrono::microseconds((i * 7) % 100)))));
      if (!e) ++done;
      if (e == std::errc::timed_out) ++late;
    }
  });
  CHECK(done + late == kRounds);
}

TEST_CASE("use_fiber refuses to run in a simulation", "[service][simulation]") {
  std::error_code error;
  (void)Simulation(1).run([&] {
    asio::steady_timer timer(current_service_thread().io_context());
    timer.expires_after(1ms);
    error = error_of(timer.async_wait(use_fiber));
  });
  CHECK(error == std::errc::not_supported);
}

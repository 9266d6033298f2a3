// docs/handlers.md: errors, and what is thrown.
#include <catch2/catch.hpp>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/context/errc.hpp"
#include "core/context/waits.hpp"
#include "core/flow/token_bucket.hpp"
#include "core/flow/worker_pool.hpp"
#include "core/http/exchange.hpp"
#include "core/http/handler.hpp"
#include "core/net/endpoint.hpp"
#include "core/net/tcp_stream.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/error_group.hpp"
#include "core/sync/mutex.hpp"
#include "core/sync/semaphore.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/integration/handlers_doc/page.hpp"

using namespace fiberd;

namespace {

// clang-format off
Result<int> port_of(std::string_view text) {
  int port = 0;
  const std::from_chars_result read = std::from_chars(text.data(), text.data() + text.size(), port);
  if (read.ec != std::errc{}) return fail(read.ec);
  if (read.ptr != text.data() + text.size()) return fail(std::errc::invalid_argument);
  return port;
}

Result<net::TcpStream> dial(const context::Context& ctx, std::string_view text) {
  const Result<int> port = port_of(text);
  if (!port) return fail(port.error());  // handed on
  const Result<net::Endpoint> local = net::Endpoint::parse("127.0.0.1:" + std::to_string(*port));
  if (!local) return fail(local.error());
  return net::TcpStream::connect(ctx, *local);
}
// clang-format on

// The table of shapes, by one or two calls of each line.
[[maybe_unused]] void nothing() {}
using Bytes = std::span<const std::byte>;
template <class T, class U>
constexpr bool kIs = std::is_same_v<T, U>;
static_assert(kIs<decltype(std::declval<net::TcpStream&>().write_all(Bytes())), Result<void>>);
static_assert(kIs<decltype(runtime::spawn("x", nothing)), Result<void>>);
static_assert(kIs<decltype(std::declval<sync::WaitGroup&>().go("x", nothing)), Result<void>>);
static_assert(kIs<decltype(std::declval<sync::ErrorGroup&>().try_go("x", nothing)), Result<void>>);
static_assert(kIs<decltype(std::declval<flow::WorkerPool&>().run(nothing)), Result<void>>);
static_assert(kIs<decltype(std::declval<flow::WorkerPool&>().try_submit(nothing)), Result<void>>);
static_assert(kIs<decltype(std::declval<sync::ErrorGroup&>().wait()), Result<void>>);
static_assert(kIs<decltype(std::declval<sync::Channel<int>&>().send(1)), Result<void>>);
static_assert(kIs<decltype(std::declval<sync::Channel<int>&>().try_send_if_open(1)), Result<void>>);
static_assert(kIs<decltype(std::declval<http::Exchange&>().flush()), Result<void>>);
static_assert(kIs<decltype(runtime::sleep_for(std::chrono::seconds(1))), Result<void>>);
static_assert(
    kIs<decltype(context::sleep(std::declval<const context::Context&>(), std::chrono::seconds(1))), Result<void>>);
static_assert(kIs<decltype(std::declval<sync::Mutex&>().lock(std::declval<const context::Context&>())), Result<void>>);
static_assert(kIs<decltype(std::declval<sync::Semaphore&>().acquire()), Result<void>>);
static_assert(kIs<decltype(std::declval<flow::TokenBucket&>().wait()), Result<void>>);
static_assert(kIs<decltype(std::declval<sync::Channel<int>&>().close()), Result<void>>);
static_assert(kIs<decltype(std::declval<http::Handler&>().serve(std::declval<http::Exchange&>())), Result<void>>);
static_assert(kIs<decltype(std::declval<sync::Channel<int>&>().try_send(1)), bool>);
static_assert(kIs<decltype(std::declval<flow::TokenBucket&>().try_take()), bool>);
static_assert(!std::is_convertible_v<std::error_code, Result<void>>);
static_assert(!std::is_convertible_v<std::error_code, Result<int>>);
static_assert(!std::is_convertible_v<Result<void>, std::error_code>);

}  // namespace

TEST_CASE("docs/handlers.md: errors that a function returns", "[integration][docs]") {
  CHECK(port_of("8080") == 8080);
  CHECK(port_of("8o8o").error() == std::errc::invalid_argument);
  CHECK(port_of("99999999999").error() == std::errc::result_out_of_range);
  std::error_code letters;
  std::error_code done;
  test::on_fibers([&] {
    const context::Cancelable call = context::with_cancel(context::background());
    letters = dial(call.context, "http").error();
    call.cancel();
    done = dial(call.context, "1").error();
  });
  CHECK(letters == std::errc::invalid_argument);
  CHECK_FALSE(as_result(letters));
  CHECK(error_of(as_result(letters)) == letters);
  CHECK(as_result(std::error_code()));
  CHECK_FALSE(error_of(as_result(std::error_code())));
  CHECK(done == context::errc::canceled);
}

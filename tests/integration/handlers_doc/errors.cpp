// docs/handlers.md: errors, and what is thrown.
#include <catch2/catch.hpp>
#include <charconv>
#include <string>
#include <string_view>
#include <system_error>

#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/context/errc.hpp"
#include "core/net/endpoint.hpp"
#include "core/net/tcp_stream.hpp"
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
  CHECK(done == context::errc::canceled);
}

// docs/handlers.md: error groups, once, defer, recover.
#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <stdexcept>
#include <string>
#include <system_error>

#include "core/base/defer.hpp"
#include "core/context/context.hpp"
#include "core/context/waits.hpp"
#include "core/runtime/recover.hpp"
#include "core/sync/error_group.hpp"
#include "core/sync/once.hpp"
#include "tests/integration/handlers_doc/page.hpp"

using namespace fiberd;
using namespace std::chrono_literals;

namespace {

Result<void> fetch(const context::Context& ctx, int part) {
  if (part == 2) return fail(std::errc::host_unreachable);
  return context::sleep(ctx, 1h);
}

}  // namespace

TEST_CASE("docs/handlers.md: error groups", "[integration][docs]") {
  std::error_code first;
  test::on_fibers([&first] {
    const context::Cancelable request = context::with_timeout(context::background(), 1h);
    const context::Context& ctx = request.context;
    sync::ErrorGroup group(ctx);
    group.set_limit(4);  // at most so many at a time
    for (int part = 0; part < 3; ++part) group.go("fetch", [&group, part] { return fetch(group.context(), part); });
    const Result<void> fetched = group.wait();  // the first error; the others were cancelled by it
    first = error_of(fetched);
    request.cancel();
  });
  CHECK(first == std::errc::host_unreachable);
}

TEST_CASE("docs/handlers.md: once, defer, recover", "[integration][docs]") {
  std::string order;
  std::string what;
  test::on_fibers([&] {
    sync::Once once;
    for (int i = 0; i < 3; ++i) once.call([&] { order += "once "; });

    {
      const defer last([&] { order += "last"; });
      const defer before([&] { order += "before "; });
      order += "work ";
    }

    const runtime::Recovered recovered = runtime::recover([] { throw std::runtime_error("on purpose"); });
    if (recovered) what = recovered.what() + recovered.trace();  // with the place that threw it
  });
  CHECK(order == "once work before last");
  CHECK(what.find("on purpose") != std::string::npos);
}

// docs/handlers.md: contexts.
#include <catch2/catch.hpp>
#include <chrono>
#include <system_error>

#include "core/base/defer.hpp"
#include "core/context/after_func.hpp"
#include "core/context/context.hpp"
#include "core/context/waits.hpp"
#include "core/runtime/runtime.hpp"
#include "tests/integration/handlers_doc/page.hpp"

using namespace fiberd;
using namespace std::chrono_literals;

namespace {

Result<void> work(const context::Context& ctx) {
  // Each wait on the way takes the context, and its error goes up.
  if (const Result<void> slept = context::sleep(ctx, 1h); !slept) return slept;
  return {};
}

}  // namespace

TEST_CASE("docs/handlers.md: ends of contexts", "[integration][docs]") {
  bool closed = false;
  test::on_fibers([&] {
    const context::Cancelable request = context::with_cancel(context::background());
    const defer over([&request] { request.cancel(); });  // on every way out

    // For what cannot wait on a context itself: called on a fiber when it is done.
    const context::StopFunction stop = context::after_func(request.context, [&closed] { closed = true; });
  });
  CHECK(closed);
}

TEST_CASE("docs/handlers.md: contexts", "[integration][docs]") {
  std::error_code late;
  std::error_code left;
  std::error_code why;
  test::on_fibers([&] {
    const context::Cancelable soon = context::with_timeout(context::background(), 10ms);
    late = error_of(work(soon.context));  // context::errc::deadline_exceeded
    soon.cancel();                        // always, when the work is over: it takes the child out of its parent

    const context::Cancelable parent = context::with_cancel(context::background());
    const context::Cancelable child = context::with_timeout(parent.context, 1h);
    parent.cancel(std::make_error_code(std::errc::connection_reset));  // and why
    left = error_of(work(child.context));                              // context::errc::canceled
    why = child.context.cause();                                       // connection_reset
    child.cancel();
  });
  CHECK(late == context::errc::deadline_exceeded);
  CHECK(left == context::errc::canceled);
  CHECK(why == std::errc::connection_reset);
}

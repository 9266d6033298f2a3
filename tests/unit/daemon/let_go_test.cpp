// Large things end on the blocking pool when a fiber lets go of them last, and where they are let go otherwise.
#include "daemon/let_go.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <string_view>

#include "core/runtime/runtime.hpp"

using namespace fiberd;

namespace {

struct Seen {
  std::atomic<int> order{0};
  std::atomic<int> large{0};  // when it ended: 1 …
  std::atomic<int> small{0};
  std::atomic<bool> large_on_fiber{false};
  std::atomic<bool> small_on_fiber{false};
};

struct Large {
  explicit Large(Seen& s) : seen(s) {}
  ~Large() {
    seen.large_on_fiber = runtime::on_fiber();
    seen.large = ++seen.order;
  }
  Large(const Large&) = delete;
  Large& operator=(const Large&) = delete;
  Seen& seen;
};
struct Small {
  explicit Small(Seen& s) : seen(s) {}
  ~Small() {
    seen.small_on_fiber = runtime::on_fiber();
    seen.small = ++seen.order;
  }
  Small(const Small&) = delete;
  Small& operator=(const Small&) = delete;
  Seen& seen;
};

std::shared_ptr<Large> made(Seen& seen) {
  return daemon::ends_beside(std::make_shared<Large>(seen), {std::make_shared<Small>(seen)});
}

}  // namespace

TEST_CASE("what a fiber lets go of last ends beside the Processors, and what ends on fibers behind it",
          "[daemon][let_go]") {
  Seen seen;
  {
    const auto runtime = runtime::Runtime::start({.gomaxprocs = 1});
    REQUIRE(runtime);
    auto first = made(seen);
    auto second = first;
    first.reset();
    CHECK(seen.order == 0);
    (*runtime)->run([last = std::move(second)]() mutable { last.reset(); });
  }  // waits for every fiber
  CHECK(seen.large == 1);
  CHECK_FALSE(seen.large_on_fiber);
  CHECK(seen.small == 2);
  CHECK(seen.small_on_fiber);
}

TEST_CASE("what no fiber lets go of ends at once", "[daemon][let_go]") {
  Seen seen;
  made(seen).reset();
  CHECK(seen.large == 1);
  CHECK(seen.small == 2);
}

TEST_CASE("what cannot have a fiber ends where it is let go", "[daemon][let_go]") {
  Seen seen;
  int then = 0;
  {
    const auto runtime = runtime::Runtime::start({.gomaxprocs = 1});
    REQUIRE(runtime);
    (*runtime)->run([&, last = made(seen)]() mutable {
      (*runtime)->set_admission_hook(
          [](std::string_view) noexcept -> Result<void> { return fail(std::errc::not_enough_memory); });
      last.reset();
      then = seen.order;
    });
  }
  CHECK(then == 2);
  CHECK(seen.large_on_fiber);
  CHECK(seen.small_on_fiber);
}

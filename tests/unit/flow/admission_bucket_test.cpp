#include "core/flow/admission_bucket.hpp"

#include <atomic>
#include <catch2/catch.hpp>

#include "core/runtime/runtime.hpp"

using namespace fiberd;
using flow::errc;

TEST_CASE("a bucket in the scheduling path refuses before a fiber exists and says why", "[admission_bucket]") {
  struct NoThirteen final : runtime::Admission {
    Result<void> admit(std::string_view name) noexcept override {
      if (name == "thirteen") return fail(std::errc::permission_denied);
      return {};
    }
  } next;
  flow::AdmissionBucket bucket("job", 0, 5, &next);  // five and no more
  auto rt = runtime::Runtime::start({.gomaxprocs = 2});
  REQUIRE(rt);
  (*rt)->set_admission(&bucket);
  std::atomic<int> ran{0};
  std::error_code sixth;
  std::error_code thirteen;
  (*rt)->run([&] {
    for (int i = 0; i < 5; ++i) (void)runtime::spawn("job", [&] { ran.fetch_add(1); });
    if (auto r = runtime::spawn("job", [&] { ran.fetch_add(1); }); !r) sixth = r.error();
    (void)runtime::spawn("other", [&] { ran.fetch_add(1); });
    if (auto r = runtime::spawn("thirteen", [&] { ran.fetch_add(1); }); !r) thirteen = r.error();
  });
  const runtime::MemStats stats = (*rt)->read_mem_stats();
  rt->reset();
  CHECK(ran == 6);
  CHECK(sixth == errc::rate_limited);
  CHECK(thirteen == std::errc::permission_denied);
  CHECK(stats.spawn_refusals[0].reason == errc::rate_limited);
  CHECK(stats.spawn_refusals[0].count == 1);
}

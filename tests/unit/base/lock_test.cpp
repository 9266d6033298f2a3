#include "core/base/lock.hpp"

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

using fiberd::Lock;
using fiberd::LockGuard;

TEST_CASE("Lock excludes, also when its waiters sleep", "[base]") {
  Lock lock;
  std::uint64_t counter = 0;  // plain: TSan and the sum see a lock that does not exclude
  constexpr unsigned kThreads = 8;
  constexpr unsigned kRounds = 20'000;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t)
    threads.emplace_back([&] {
      for (unsigned i = 0; i < kRounds; ++i) {
        const LockGuard guard(lock);
        ++counter;
        if (i % 1'000 == 0) std::this_thread::yield();  // others get past their spinning
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(counter == std::uint64_t{kThreads} * kRounds);
}

TEST_CASE("Lock counts its depth and try_lock does not wait", "[base]") {
  Lock a;
  Lock b;
  const std::uint32_t before = fiberd::thread_locals()->lock_depth;
  {
    const LockGuard guard(a);
    CHECK_FALSE(a.try_lock());
    const bool got = b.try_lock();
    CHECK(got);
    CHECK(fiberd::thread_locals()->lock_depth == before + 2);
    if (got) b.unlock();
  }
  CHECK(fiberd::thread_locals()->lock_depth == before);
  const bool got = a.try_lock();
  CHECK(got);
  if (got) a.unlock();
}

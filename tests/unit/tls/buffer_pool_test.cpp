#include "core/tls/buffer_pool.hpp"

#include <catch2/catch.hpp>
#include <cstring>
#include <memory>
#include <set>
#include <thread>
#include <vector>

using namespace fiberd;

TEST_CASE("places of a pool of buffers are apart, known to it, and used again", "[tls][buffers]") {
  static constexpr std::size_t kMany = 1'000;  // more than are kept warm, and more than a chunk has
  const auto pool = std::make_unique<tls::BufferPool>();
  std::set<void*> seen;
  for (int turn = 0; turn < 3; ++turn) {
    std::vector<void*> held;
    for (std::size_t i = 0; i < kMany; ++i) {
      void* const place = pool->take();
      REQUIRE(place != nullptr);
      REQUIRE(pool->owns(place));
      std::memset(place, static_cast<int>(i), tls::BufferPool::kSlot);
      held.push_back(place);
      seen.insert(place);
    }
    bool whole = true;
    for (std::size_t i = 0; i < kMany; ++i) {
      const auto* const bytes = static_cast<const unsigned char*>(held[i]);
      whole = whole && bytes[0] == static_cast<unsigned char>(i) &&
              bytes[tls::BufferPool::kSlot - 1] == static_cast<unsigned char>(i);
      pool->give(held[i]);
    }
    CHECK(whole);
  }
  CHECK(seen.size() <= kMany + 2 * tls::BufferPool::kWarm * 16);
  const int other = 0;
  CHECK_FALSE(pool->owns(&other));
  CHECK_FALSE(pool->owns(nullptr));
}

TEST_CASE("a pool of buffers gives no place to two at once", "[tls][buffers]") {
  const auto pool = std::make_unique<tls::BufferPool>();
  std::vector<std::thread> threads;
  std::atomic<bool> good{true};
  for (unsigned t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int turn = 0; turn < 2'000; ++turn) {
        std::vector<unsigned*> held;
        for (int i = 0; i < 1 + turn % 20; ++i) {
          held.push_back(static_cast<unsigned*>(pool->take()));
          *held.back() = t;
        }
        for (unsigned* const place : held) {
          if (*place != t) good = false;
          pool->give(place);
        }
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(good);
}

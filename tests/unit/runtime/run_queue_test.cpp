#include "core/runtime/run_queue.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <thread>
#include <vector>

using fiberd::runtime::BasicRunQueue;

namespace {
struct TakenOnce {
  std::uint32_t number = 0;
  std::atomic<std::uint8_t> taken{0};
};
using LargeQueue = BasicRunQueue<TakenOnce>;
}  // namespace

TEST_CASE("the ring is first in, first out, and refuses when full", "[run_queue]") {
  auto queue = std::make_unique<LargeQueue>();
  std::vector<TakenOnce> elements(LargeQueue::capacity() + 1);
  // Several laps, so that the indices wrap around the slots.
  for (int lap = 0; lap < 5; ++lap) {
    CHECK(queue->pop() == nullptr);
    bool pushed = true;
    for (std::uint32_t i = 0; i < LargeQueue::capacity(); ++i) pushed = pushed && queue->push(&elements[i]);
    CHECK(pushed);
    CHECK_FALSE(queue->push(&elements.back()));
    CHECK(queue->size() == LargeQueue::capacity());
    bool in_order = true;
    for (std::uint32_t i = 0; i < LargeQueue::capacity(); ++i) in_order = in_order && queue->pop() == &elements[i];
    CHECK(in_order);
    TakenOnce* const one = &elements[0];
    CHECK(queue->push(one));
    CHECK(queue->pop() == one);
  }
}

TEST_CASE("stealing takes half, rounded up, and never more than there is room for", "[run_queue]") {
  auto victim = std::make_unique<LargeQueue>();
  auto thief = std::make_unique<LargeQueue>();
  std::vector<TakenOnce> elements(2 * LargeQueue::capacity());
  CHECK(victim->steal_half(*thief) == 0);
  for (const std::uint32_t size : {1U, 2U, 3U, 7U, 256U}) {
    for (std::uint32_t i = 0; i < size; ++i) REQUIRE(victim->push(&elements[i]));
    const std::uint32_t half = size - size / 2;
    CHECK(victim->steal_half(*thief) == half);
    CHECK(thief->size() == half);
    CHECK(victim->size() == size / 2);
    bool in_order = true;
    for (std::uint32_t i = 0; i < half; ++i) in_order = in_order && thief->pop() == &elements[i];
    for (std::uint32_t i = half; i < size; ++i) in_order = in_order && victim->pop() == &elements[i];
    CHECK(in_order);
  }
  for (std::uint32_t i = 0; i < 255; ++i) REQUIRE(thief->push(&elements[i]));
  for (std::uint32_t i = 0; i < 100; ++i) REQUIRE(victim->push(&elements[256 + i]));
  CHECK(victim->steal_half(*thief) == 1);
  CHECK(victim->steal_half(*thief) == 0);
  CHECK(victim->size() == 99);
}

TEST_CASE("half of a full ring goes out in order", "[run_queue]") {
  auto queue = std::make_unique<LargeQueue>();
  std::vector<TakenOnce> elements(LargeQueue::capacity());
  for (TakenOnce& e : elements) REQUIRE(queue->push(&e));
  std::array<TakenOnce*, LargeQueue::capacity() / 2> half{};
  CHECK(queue->take_half(half) == half.size());
  bool in_order = true;
  for (std::size_t i = 0; i < half.size(); ++i) in_order = in_order && half[i] == &elements[i];
  CHECK(in_order);
  CHECK(queue->pop() == &elements[half.size()]);
}

TEST_CASE("one owner and three thieves take a million elements exactly once", "[run_queue]") {
  constexpr std::uint32_t kMillion = 1'000'000;
  constexpr unsigned kThieves = 3;
  std::vector<TakenOnce> elements(kMillion);
  for (std::uint32_t i = 0; i < kMillion; ++i) elements[i].number = i;
  auto owner = std::make_unique<LargeQueue>();
  std::atomic<std::uint32_t> taken{0};
  std::atomic<std::uint32_t> wrong{0};
  const auto take = [&](TakenOnce& e, std::uint32_t& last) {
    // In order for each consumer; `last` begins below 0.
    if (e.taken.fetch_add(1, std::memory_order_relaxed) != 0 || (last != UINT32_MAX && e.number <= last)) ++wrong;
    last = e.number;
    taken.fetch_add(1, std::memory_order_relaxed);
  };
  std::vector<std::thread> thieves;
  for (unsigned t = 0; t < kThieves; ++t)
    thieves.emplace_back([&] {
      auto mine = std::make_unique<LargeQueue>();
      std::uint32_t last = UINT32_MAX;
      while (taken.load(std::memory_order_relaxed) < kMillion) {
        if (owner->steal_half(*mine) == 0) std::this_thread::yield();
        while (TakenOnce* const e = mine->pop()) take(*e, last);
      }
    });
  std::uint32_t last = UINT32_MAX;
  for (std::uint32_t i = 0; i < kMillion; ++i) {
    while (!owner->push(&elements[i]))
      if (TakenOnce* const e = owner->pop()) take(*e, last);
    if (i % 3 == 0)
      if (TakenOnce* const e = owner->pop()) take(*e, last);
  }
  while (TakenOnce* const e = owner->pop()) take(*e, last);
  for (std::thread& t : thieves) t.join();
  CHECK(taken == kMillion);
  CHECK(wrong == 0);
}

#include "core/metric/cells.hpp"

#include <catch2/catch.hpp>
#include <memory>
#include <thread>
#include <vector>

#include "core/metric/metrics.hpp"

using fiberd::thread_locals;
using namespace fiberd::metric;

TEST_CASE("a cell sums its shards and never moves", "[metric]") {
  const auto cells = std::make_unique<Cells>();
  std::vector<CellId> ids;
  for (int i = 0; i < 5'000; ++i) ids.push_back(cells->allocate(1));
  for (const ShardId shard : {0U, 1U, 7U, kMaxShards - 1}) {
    thread_locals()->shard = shard;
    for (std::uint32_t i = 0; i < ids.size(); ++i) cells->add(ids[i], i);
  }
  thread_locals()->shard = 0;
  bool exact = true;
  for (std::uint32_t i = 0; i < ids.size(); ++i) exact = exact && cells->sum(ids[i]) == 4U * i;
  CHECK(exact);
}

TEST_CASE("a block of cells may cross segments", "[metric]") {
  const auto cells = std::make_unique<Cells>();
  CHECK(cells->allocate(500) == 0);
  const CellId block = cells->allocate(3'000);
  for (CellId id = block; id < block + 3'000; ++id) cells->add(id, id);
  bool exact = true;
  for (CellId id = block; id < block + 3'000; ++id) exact = exact && cells->sum(id) == id;
  CHECK(exact);
}

TEST_CASE("the cells of a histogram may cross segments, too", "[metric]") {
  const std::vector<std::uint64_t> bounds{10, 20, 30, 40};
  const std::uint32_t needed = Histogram::cells_needed(bounds.size());
  for (std::uint32_t before = 512 - needed - 1; before <= 512; ++before) {
    const auto cells = std::make_unique<Cells>();
    (void)cells->allocate(before);
    const CellId first = cells->allocate(needed);
    const CellId behind = cells->allocate(1);
    for (const ShardId shard : {0U, 5U}) {
      thread_locals()->shard = shard;
      Histogram histogram(*cells, first, bounds);
      for (std::uint64_t value = 5; value <= 45; value += 10) histogram.observe(value);
    }
    thread_locals()->shard = 0;
    const Histogram histogram(*cells, first, bounds);
    CAPTURE(before);
    CHECK(histogram.sum() == 2 * (5 + 15 + 25 + 35 + 45));
    CHECK(histogram.buckets() == std::vector<std::uint64_t>(5, 2));
    CHECK(cells->sum(behind) == 0);
  }
}

TEST_CASE("a shard that is not used costs nothing", "[metric]") {
  const auto cells = std::make_unique<Cells>();
  const CellId id = cells->allocate(1);
  const std::uint64_t one = cells->bytes();
  CHECK(one <= 8 * 1024);
  thread_locals()->shard = 3;
  cells->add(id, 1);
  CHECK(cells->bytes() == 2 * one);
  cells->add(id, 1);
  CHECK(cells->bytes() == 2 * one);
  thread_locals()->shard = 0;
  CHECK(cells->sum(id) == 2);
}

TEST_CASE("16 threads lose no increment, on owned shards and on the shared one", "[metric]") {
  constexpr unsigned kThreads = 16;
  constexpr std::uint64_t kRounds = 1'000'000;
  for (const bool owned : {true, false}) {
    const auto cells = std::make_unique<Cells>();
    const CellId id = cells->allocate(2);
    std::atomic<bool> stop{false};
    std::uint64_t last = 0;
    bool monotonic = true;
    std::thread reader([&] {
      while (!stop.load()) {
        const std::uint64_t now = cells->sum(id);
        monotonic = monotonic && now >= last;
        last = now;
      }
    });
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < kThreads; ++t)
      threads.emplace_back([&] {
        const ShardId shard = owned ? ShardAllocator::acquire() : 0;
        thread_locals()->shard = shard;
        for (std::uint64_t i = 0; i < kRounds; ++i) cells->add(id, 1);
        cells->add(id + 1, ~std::uint64_t{0});
        thread_locals()->shard = 0;
        ShardAllocator::release(shard);
      });
    for (auto& thread : threads) thread.join();
    stop.store(true);
    reader.join();
    CHECK(cells->sum(id) == kThreads * kRounds);
    CHECK(cells->sum(id + 1) + kThreads == 0);
    CHECK(monotonic);
  }
}

TEST_CASE("the next owner of a shard adds on top of its counts", "[metric]") {
  const auto cells = std::make_unique<Cells>();
  const CellId id = cells->allocate(1);
  for (int i = 0; i < 3; ++i)
    std::thread([&] {
      const ShardId shard = ShardAllocator::acquire();
      thread_locals()->shard = shard;
      cells->add(id, 5);
      ShardAllocator::release(shard);
    }).join();
  CHECK(cells->sum(id) == 15);
}

#include "core/fiber/stack_table.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "core/fiber/backtrace.hpp"

using namespace fiberd::fiber;

static std::uint64_t sum_of_all(const StackTable& table) {
  std::uint64_t sum = 0;
  table.for_each([&](auto /*frames*/, std::uint32_t /*tag*/, const auto& sums) { sum += sums[0]; });
  return sum;
}

TEST_CASE("a stack has one place, which its tag tells apart, and of a deep one the innermost frames", "[stack_table]") {
  const auto table = std::make_unique<StackTable>();
  const std::array<std::uintptr_t, 2> ab{1, 2};
  const std::array<std::uintptr_t, 2> ba{2, 1};
  std::vector<std::uintptr_t> deep(StackTable::kFrames + 9);
  for (std::size_t i = 0; i < deep.size(); ++i) deep[i] = 100 + i;
  table->at(ab).add(0, 1);
  table->at(ab).add(0, 2);
  table->at(ba).add(0, 10);
  table->at(ab, 7).add(0, 100);
  table->at(deep).add(0, 1000);
  table->at({}).add(0, 10000);
  CHECK(&table->at(ab) == &table->by_index(table->index_of(table->at(ab))));
  std::map<std::pair<std::vector<std::uintptr_t>, std::uint32_t>, std::uint64_t> seen;
  table->for_each([&](std::span<const std::uintptr_t> frames, std::uint32_t tag, const auto& sums) {
    seen[{std::vector<std::uintptr_t>(frames.begin(), frames.end()), tag}] += sums[0];
  });
  CHECK(seen.size() == 5);
  CHECK(seen[{{1, 2}, 0}] == 3);
  CHECK(seen[{{2, 1}, 0}] == 10);
  CHECK(seen[{{1, 2}, 7}] == 100);
  deep.resize(StackTable::kFrames);
  CHECK(seen[{deep, 0}] == 1000);
  CHECK(table->lost() == 0);
}

TEST_CASE("what finds no place is counted, and stands where its name says so", "[stack_table]") {
  const auto table = std::make_unique<StackTable>();
  static constexpr std::size_t kMore = StackTable::kStacks + 500;
  for (std::uintptr_t i = 1; i <= kMore; ++i) table->at(std::array{i}).add(0, 1);
  CHECK(table->lost() >= 500);
  CHECK(sum_of_all(*table) == kMore);
  std::uint64_t beyond = 0;
  table->for_each([&](std::span<const std::uintptr_t> frames, std::uint32_t /*tag*/, const auto& sums) {
    if (function_at(frames.front() - 1) == "fiberd::fiber::stack_table_is_full()") beyond += sums[0];
  });
  CHECK(beyond == table->lost());
}

TEST_CASE("many threads that add to the same stacks lose nothing", "[stack_table]") {
  const auto table = std::make_unique<StackTable>();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&table] {
      for (std::uintptr_t i = 0; i < 20'000; ++i) table->at(std::array{i % 300 + 1, i % 300 + 2}).add(0, 1);
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(sum_of_all(*table) == 80'000);
  CHECK(table->lost() == 0);
}

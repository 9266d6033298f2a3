#include "core/http/files/open_files.hpp"

#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/base/random.hpp"
#include "core/metric/registry.hpp"

using namespace fiberd;
using namespace fiberd::http;
using namespace std::chrono_literals;

namespace {

std::shared_ptr<KeptFile> make(const void* owner, std::string path, std::uint32_t descriptors, std::uint64_t memory = 0,
                               std::uint32_t files = 1) {
  auto file = std::make_shared<KeptFile>(owner, std::move(path));
  file->files = files;
  file->descriptors = descriptors;
  file->memory = memory;
  return file;
}

const int one = 0;
const int two = 0;

}  // namespace

TEST_CASE("open files: one bound for all owners, and who was unused longest goes", "[http]") {
  OpenFiles kept({.files = 3});
  kept.insert(make(&one, "a", 1), 1);
  kept.insert(make(&two, "a", 0, 10), 2);
  kept.insert(make(&one, "b", 1), 3);
  CHECK(kept.find(&one, "a", 4) != nullptr);
  kept.insert(make(&two, "c", 0, 5), 5);  // for the other owner's "a"
  CHECK(kept.files() == 3);
  CHECK(kept.find(&two, "a", 6) == nullptr);
  CHECK(kept.find(&one, "a", 6) != nullptr);
  kept.insert(make(&two, "d", 2, 0, 2), 7);  // with a sibling: two go
  CHECK(kept.files() == 3);
  CHECK(kept.find(&one, "b", 8) == nullptr);
  CHECK(kept.find(&two, "c", 8) == nullptr);
  CHECK(kept.descriptors() == 3);
  CHECK(kept.memory() == 0);
  kept.forget(&two);
  CHECK(kept.files() == 1);
  kept.erase(&one, "a");
  CHECK(kept.files() == 0);
  kept.insert(make(&one, "big", 4, 0, 4), 9);  // can not stay, and nobody goes for it
  CHECK(kept.files() == 0);
}

TEST_CASE("open files: bounds of memory and of descriptors take only who holds them", "[http]") {
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit low = before;
  low.rlim_cur = 400;  // a quarter is 100
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
  OpenFiles kept({.files = 1000, .memory = 100});
  kept.insert(make(&one, "m", 0, 60), 1);
  for (int i = 0; i < 150; ++i) kept.insert(make(&one, "d" + std::to_string(i), 1), 2 + i);
  const bool bounded = kept.descriptors() == 100 && kept.find(&one, "m", 200) != nullptr;
  kept.insert(make(&one, "n", 0, 60), 300);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(bounded);
  CHECK(kept.find(&one, "m", 301) == nullptr);
  CHECK(kept.find(&one, "n", 301) != nullptr);
  CHECK(kept.descriptors() == 100);
  CHECK(kept.memory() == 60);
}

TEST_CASE("open files: while memory is watched what is kept grows by what was allowed, and shrinks to it", "[http]") {
  metric::Registry registry;
  metric::Family& room_family = registry.family({.name = "room", .help = "", .type = metric::Type::counter});
  metric::Family& shortage_family = registry.family({.name = "shortage", .help = "", .type = metric::Type::counter});
  metric::Counter& room = registry.counter(room_family, {});
  metric::Counter& shortage = registry.counter(shortage_family, {});
  OpenFilesMetrics metrics;
  metrics.evicted_room = &room;
  metrics.evicted_shortage = &shortage;
  OpenFiles kept({.memory = 100}, metrics);
  kept.bound_memory(25);
  for (int i = 0; i < 5; ++i) kept.insert(make(&one, "f" + std::to_string(i), 0, 10), i);
  CHECK(kept.memory() == 20);
  CHECK(kept.find(&one, "f4", 5) != nullptr);
  CHECK(shortage.value() == 3);
  CHECK(room.value() == 0);
  kept.bound_memory(0);
  CHECK(kept.memory() == 20);
  kept.insert(make(&one, "g", 0, 10), 6);
  CHECK(kept.memory() == 0);
  kept.bound_memory(UINT64_MAX);
  for (int i = 0; i < 11; ++i) kept.insert(make(&one, "h" + std::to_string(i), 0, 10), 7 + i);
  CHECK(kept.memory() == 100);
  CHECK(room.value() == 1);
}

TEST_CASE("open files: what nobody asks for ages away", "[http]") {
  OpenFiles kept({.files = 10, .age = 10s});
  const auto at = [](std::chrono::nanoseconds t) { return (1s + t).count(); };
  kept.insert(make(&one, "asked for", 1), at(0s));
  kept.insert(make(&one, "not", 1), at(0s));
  kept.insert(make(&one, "small", 0, 5), at(1s));
  CHECK(kept.find(&one, "asked for", at(9s)) != nullptr);
  kept.sweep(at(9'999ms));
  CHECK(kept.files() == 3);
  kept.sweep(at(10s));
  CHECK(kept.files() == 2);
  kept.sweep(at(11s));
  CHECK(kept.files() == 1);
  kept.insert(make(&one, "new", 1), at(60s));  // sweeps, too
  CHECK(kept.files() == 1);
}

TEST_CASE("open files: what is only kept is given back at once, what is in use when it was used", "[http]") {
  metric::Registry registry;
  metric::Family& family = registry.family({.name = "evicted", .help = "", .type = metric::Type::counter});
  OpenFilesMetrics metrics;
  metrics.evicted_shortage = &registry.counter(family, {});
  OpenFiles kept({}, metrics);
  std::shared_ptr<KeptFile> in_use = make(&one, "in use", 1);
  kept.insert(in_use, 1);
  for (int i = 0; i < 10; ++i) kept.insert(make(&one, std::to_string(i), 1), 2);
  kept.insert(make(&one, "small", 0, 5), 0);
  CHECK(kept.reclaim(4) == 4);
  CHECK(kept.descriptors() == 6);  // four, and the one in use
  CHECK(in_use.use_count() == 1);
  CHECK(kept.reclaim(100) == 6);
  CHECK(kept.reclaim(100) == 0);
  CHECK(kept.files() == 1);
  kept.clear();
  CHECK(kept.files() == 0);
  CHECK(metrics.evicted_shortage->value() == 12);
}

TEST_CASE("open files: many at once, and the books are right", "[http]") {
  OpenFiles kept({.files = 50, .memory = 2000});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&kept, t] {
      Random random(static_cast<std::uint64_t>(t) + 1);
      for (int i = 0; i < 5000; ++i) {
        const std::string path = std::to_string(random.below(100));
        const void* const owner = random.below(2) == 0 ? &one : &two;
        switch (random.below(8)) {
          case 0: kept.erase(owner, path); break;
          case 1: (void)kept.reclaim(1); break;
          case 2: kept.sweep(i); break;
          case 3:
          case 4: (void)kept.find(owner, path, i); break;
          default: kept.insert(make(owner, path, random.below(2), random.below(100)), i);
        }
      }
    });
  for (std::thread& t : threads) t.join();
  CHECK(kept.files() <= 50);
  CHECK(kept.memory() <= 2000);
  kept.forget(&one);
  kept.forget(&two);
  CHECK(kept.files() == 0);
  CHECK(kept.descriptors() == 0);
  CHECK(kept.memory() == 0);
}

TEST_CASE("open files: one owner's are forgotten, all of them, while another's come and go", "[http]") {
  static constexpr int kMany = 20'000;
  OpenFiles kept({.files = 10 * kMany});
  for (int i = 0; i < kMany; ++i) {
    kept.insert(make(&one, std::to_string(i), 0), 1);
    kept.insert(make(&two, std::to_string(i), 0), 1);
  }
  std::thread other([&] {  // the map grows meanwhile
    for (int i = kMany; i < 2 * kMany; ++i) kept.insert(make(&two, std::to_string(i), 0), 1);
  });
  kept.forget(&one);
  for (int i = 0; i < kMany; ++i)
    if (kept.find(&one, std::to_string(i), 2) != nullptr) FAIL(i);
  other.join();
  CHECK(kept.files() == 2 * kMany);
}

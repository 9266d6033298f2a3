#include "core/fiber/stack_pool.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/base/bug.hpp"
#include "core/base/log.hpp"

using namespace fiberd;
using namespace fiberd::fiber;

namespace {

const std::size_t kPage = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));

/// FIBERDEBUG for one test.
class DebugSetting {
 public:
  explicit DebugSetting(const char* value) { setenv("FIBERDEBUG", value, 1); }
  ~DebugSetting() { unsetenv("FIBERDEBUG"); }
  DebugSetting(const DebugSetting&) = delete;
  DebugSetting& operator=(const DebugSetting&) = delete;
};

/// A stand-in for /proc/sys/vm/max_map_count.
class MapCountFile {
 public:
  explicit MapCountFile(const char* content) {
    const int fd = mkstemp(path_.data());
    REQUIRE(fd >= 0);
    REQUIRE(write(fd, content, std::strlen(content)) == static_cast<ssize_t>(std::strlen(content)));
    close(fd);
  }
  ~MapCountFile() { unlink(path_.data()); }
  MapCountFile(const MapCountFile&) = delete;
  MapCountFile& operator=(const MapCountFile&) = delete;
  [[nodiscard]] const char* path() const { return path_.data(); }

 private:
  std::array<char, 32> path_{"./fiberd-max-map-count-XXXXXX"};
};

std::unique_ptr<StackPool> make(const StackPool::Options& options) {
  auto pool = StackPool::create(options);
  REQUIRE(pool.has_value());
  return std::move(*pool);
}

/// Runs `fn` in a child and returns its wait status. The child must not use Catch.
template <class F>
int in_child(F fn) {
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    fn();
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  return status;
}

/// Spawns until it is refused; returns how many stacks are out.
std::vector<Stack*> take_all(StackPool& pool, StackCache& cache, std::size_t at_most, std::error_code& error) {
  std::vector<Stack*> stacks;
  while (stacks.size() < at_most) {
    if (auto credit = pool.reserve(cache); !credit) {
      error = credit.error();
      break;
    }
    stacks.push_back(pool.acquire(cache));
  }
  return stacks;
}

void give_back(StackPool& pool, StackCache& cache, const std::vector<Stack*>& stacks) {
  for (Stack* stack : stacks) {
    pool.release(cache, stack);
    pool.unreserve(cache);
  }
}

}  // namespace

TEST_CASE("a stack pool checks its options", "[fiber][stack]") {
  const auto error_of = [](StackPool::Options options) {
    auto pool = StackPool::create(options);
    return pool ? std::error_code() : pool.error();
  };
  const auto invalid = std::make_error_code(std::errc::invalid_argument);
  CHECK(error_of({.stack_size = 8 * 1024}) == invalid);
  CHECK(error_of({.stack_size = 128 * 1024 * 1024}) == invalid);
  CHECK(error_of({.stack_size = 64 * 1024 + 1}) == invalid);
  CHECK(error_of({.caches = 0}) == invalid);
  CHECK(error_of({.max_stacks = 0}) == invalid);
  CHECK(!error_of({.stack_size = 16 * 1024}));
}

TEST_CASE("stacks are separate, aligned, coloured and LIFO", "[fiber][stack]") {
  const std::size_t size = GENERATE(std::size_t{16 * 1024}, std::size_t{256 * 1024});
  auto pool = make({.stack_size = size});
  StackCache cache;
  std::error_code error;
  const std::vector<Stack*> stacks = take_all(*pool, cache, 200, error);
  REQUIRE(stacks.size() == 200);
  CHECK(pool->usable_size() == size - kPage);

  std::set<std::uint32_t> indices;
  std::set<std::size_t> colours;
  for (const Stack* stack : stacks) {
    indices.insert(stack->index);
    CHECK(reinterpret_cast<std::uintptr_t>(stack->base) % kPage == 0);
    CHECK(reinterpret_cast<std::uintptr_t>(pool->top(*stack)) % 64 == 0);
    const auto colour = static_cast<std::size_t>(pool->end(*stack) - pool->top(*stack));
    colours.insert(colour);
    CHECK(colour <= size / 8);
    std::memset(stack->base, 1, 16);             // lowest byte
    std::memset(pool->end(*stack) - 16, 1, 16);  // highest byte
  }
  CHECK(indices.size() == 200);
  CHECK(colours.size() == 32);

  pool->release(cache, stacks[0]);
  pool->release(cache, stacks[1]);
  CHECK(pool->acquire(cache) == stacks[1]);
  CHECK(pool->acquire(cache) == stacks[0]);
  CHECK(pool->stats().in_use == 200);
  give_back(*pool, cache, stacks);
  CHECK(pool->stats().in_use == 0);
  pool->flush(cache);
  CHECK(pool->stats().credits == 0);
}

TEST_CASE("what a credit promises, acquire keeps", "[fiber][stack]") {
  // Many caches, each as full as it may be, and a limit: whoever holds a credit gets a stack.
  auto pool = make({.stack_size = 16 * 1024, .caches = 4, .max_stacks = 400});
  std::array<StackCache, 4> caches;
  std::array<std::vector<Stack*>, 4> held;
  std::uint32_t random = 12345;
  std::size_t credits_waiting = 0;
  std::size_t refused = 0;
  for (int step = 0; step < 200'000; ++step) {
    random = random * 1664525U + 1013904223U;
    const std::size_t c = (random >> 8U) % 4;
    switch ((random >> 16U) % 5) {
      case 0:
      case 1:
        if (pool->reserve(caches[c]))
          ++credits_waiting;
        else
          ++refused;
        break;
      case 2:  // a fiber spawned on one Processor runs first on another
      case 3:
        if (credits_waiting > 0) {
          --credits_waiting;
          Stack* stack = pool->acquire(caches[c]);
          if (stack == nullptr) FAIL("no stack for a credit");
          held[c].push_back(stack);
        } else if (!held[c].empty()) {
          pool->release(caches[(c + 1) % 4], held[c].back());
          held[c].pop_back();
          pool->unreserve(caches[(c + 1) % 4]);
        }
        break;
      default:
        for (int i = 0; i < 3 && !held[c].empty(); ++i) {
          pool->release(caches[c], held[c].back());
          held[c].pop_back();
          pool->unreserve(caches[c]);
        }
    }
    if (step % 1000 == 0) {
      const StackPool::Stats stats = pool->stats();
      std::uint64_t in_use = 0;
      for (const auto& h : held) in_use += h.size();
      REQUIRE(stats.in_use == in_use);
      REQUIRE(stats.carved <= 400);
      REQUIRE(stats.credits >= in_use + credits_waiting);
    }
  }
  CHECK(refused > 0);  // the limit was met
  for (std::size_t c = 0; c < 4; ++c) {
    give_back(*pool, caches[c], held[c]);
    for (; c == 0 && credits_waiting > 0; --credits_waiting) pool->unreserve(caches[c]);
  }
  for (StackCache& cache : caches) pool->flush(cache);
  CHECK(pool->stats().credits == 0);
  CHECK(pool->stats().in_use == 0);
  CHECK(pool->stats().cached == pool->stats().carved);
}

TEST_CASE("at the limit a spawn is refused, and possible again after an end", "[fiber][stack]") {
  auto pool = make({.stack_size = 16 * 1024, .caches = 1, .max_stacks = 100});
  StackCache cache;
  std::error_code error;
  std::vector<Stack*> stacks = take_all(*pool, cache, 1000, error);
  CHECK(error == std::errc::not_enough_memory);
  CHECK(stacks.size() >= 70);  // at most a quarter may rest in caches
  CHECK(stacks.size() <= 100);
  pool->release(cache, stacks.back());
  pool->unreserve(cache);
  stacks.pop_back();
  CHECK(pool->reserve(cache).has_value());
  stacks.push_back(pool->acquire(cache));
  CHECK(!pool->reserve(cache).has_value());
  give_back(*pool, cache, stacks);
  CHECK(take_all(*pool, cache, 50, error).size() == 50);
}

TEST_CASE("threads share a pool", "[fiber][stack]") {
  auto pool = make({.stack_size = 16 * 1024, .caches = 4, .max_stacks = 3000});
  std::atomic<int> errors{0};
  std::atomic<int> left{4};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      StackCache cache;
      std::vector<Stack*> held;
      std::uint32_t random = static_cast<std::uint32_t>(t) + 1;
      for (int step = 0; step < 20'000; ++step) {
        random = random * 1664525U + 1013904223U;
        if ((random >> 16U) % 2 == 0 && held.size() < 300) {
          if (!pool->reserve(cache)) {
            ++errors;
            break;
          }
          Stack* stack = pool->acquire(cache);
          pool->top(*stack)[-1] = std::byte{1};
          held.push_back(stack);
        } else if (!held.empty()) {
          pool->release(cache, held.back());
          held.pop_back();
          pool->unreserve(cache);
        }
      }
      give_back(*pool, cache, held);
      pool->flush(cache);
      --left;
    });
  while (left.load() > 0) {
    pool->trim();
    (void)pool->stats();
    std::this_thread::yield();
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(errors == 0);
  CHECK(pool->stats().in_use == 0);
  CHECK(pool->stats().credits == 0);
}

TEST_CASE("only touched pages are resident, and huge pages are off", "[fiber][stack]") {
  auto pool = make({});
  StackCache cache;
  std::error_code error;
  const std::vector<Stack*> stacks = take_all(*pool, cache, 100, error);
  CHECK(pool->resident_bytes() == 0);
  CHECK(pool->high_water(*stacks[0]) == 0);
  for (const Stack* stack : stacks) pool->top(*stack)[-1] = std::byte{1};
  CHECK(pool->resident_bytes() == 100 * kPage);
  CHECK(pool->high_water(*stacks[0]) == kPage);
  pool->end(*stacks[0])[-50'000] = std::byte{1};
  CHECK(pool->high_water(*stacks[0]) == (50'000 + kPage - 1) / kPage * kPage);
  CHECK(pool->stats().reserved_bytes == std::uint64_t{StackPool::kSlabStacks} * 256 * 1024);

  // "nh" in the flags of the mapping; where the kernel has no huge pages there is no such flag.
  if (access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) == 0) {
    std::ifstream smaps("/proc/self/smaps");
    const auto address = reinterpret_cast<std::uintptr_t>(stacks[0]->base);
    bool inside = false;
    bool found = false;
    for (std::string line; std::getline(smaps, line);) {
      unsigned long from = 0;
      unsigned long to = 0;
      if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) inside = from <= address && address < to;
      if (inside && line.rfind("VmFlags:", 0) == 0) found = line.find(" nh") != std::string::npos;
    }
    CHECK(found);
  }
}

TEST_CASE("trim gives back what was not needed since the last trim", "[fiber][stack]") {
  auto pool = make({});
  StackCache cache;
  std::error_code error;
  std::vector<Stack*> stacks = take_all(*pool, cache, 500, error);
  for (const Stack* stack : stacks) pool->top(*stack)[-1] = std::byte{1};
  give_back(*pool, cache, stacks);
  const auto trim_all = [&] {
    for (int calls = 0; calls < 10 && pool->trim(); ++calls) {
    }
  };
  trim_all();  // begins the first period
  CHECK(pool->resident_bytes() == 500 * kPage);

  // 200 are in use for a while: the pool never has more than 300 unneeded (less those that rest in the cache).
  stacks = take_all(*pool, cache, 200, error);
  give_back(*pool, cache, stacks);
  CHECK(pool->trim());  // more than one call's worth
  CHECK(pool->resident_bytes() / kPage == 500 - StackPool::kTrimMax);
  trim_all();
  const std::size_t after = pool->resident_bytes() / kPage;
  CHECK(after >= 200);
  CHECK(after <= 200 + StackPool::kCacheMax);

  trim_all();
  CHECK(pool->resident_bytes() / kPage <= StackPool::kCacheMax);
  // Trimmed stacks serve again.
  stacks = take_all(*pool, cache, 500, error);
  CHECK(stacks.size() == 500);
  for (const Stack* stack : stacks) pool->top(*stack)[-1] = std::byte{2};
  CHECK(pool->resident_bytes() == 500 * kPage);
}

TEST_CASE("an emergency page is closed until somebody needs it, and for the next one", "[fiber][stack]") {
  const char* setting = GENERATE("", "guard=mprotect");
  const DebugSetting debug(setting);
  CHECK(StackPool::create({.mode = GuardMode::canary, .emergency = true}).error() == std::errc::invalid_argument);
  auto pool = make({.stack_size = 6 * kPage, .emergency = true});
  CHECK(pool->usable_size() == 4 * kPage);
  StackCache cache;
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  for (int use = 0; use < 2; ++use) {
    REQUIRE(pool->reserve(cache).has_value());
    Stack* const stack = pool->acquire(cache);
    std::byte* const last = stack->base - 1;
    CHECK(pool->find_guard_hit(last) == stack);
    CHECK(pool->find_guard_hit(stack->base - 2 * kPage) == stack);
    CHECK(pool->find_guard_hit(stack->base - 2 * kPage - 1) == nullptr);
    CHECK(write(ends[1], last, 1) == -1);
    CHECK_FALSE(pool->open_emergency(stack->base));
    CHECK_FALSE(pool->open_emergency(last - kPage));  // the guard
    CHECK(pool->open_emergency(last));
    CHECK_FALSE(pool->open_emergency(last));  // it is open
    CHECK(*last == std::byte{0});             // nothing of the use before
    *(stack->base - kPage) = *last = std::byte{7};
    CHECK(write(ends[1], last - kPage, 1) == -1);
    pool->release(cache, stack);
    pool->unreserve(cache);
    CHECK(write(ends[1], last, 1) == -1);
  }
  pool->flush(cache);
  // One without has none to open.
  auto plain = make({});
  StackCache other;
  REQUIRE(plain->reserve(other).has_value());
  Stack* const stack = plain->acquire(other);
  CHECK_FALSE(plain->open_emergency(stack->base - 1));
  close(ends[0]);
  close(ends[1]);
}

TEST_CASE("each stack has a guard below it", "[fiber][stack]") {
  const char* setting = GENERATE("", "other=1,guard=mprotect");
  const DebugSetting debug(setting);
  auto pool = make({});
  StackCache cache;
  REQUIRE(pool->reserve(cache).has_value());
  Stack* stack = pool->acquire(cache);
  CHECK(stack->guarded);
  if (*setting != 0) CHECK(pool->stats().guard_kind == GuardKind::mprotect);
  CHECK(pool->find_guard_hit(stack->base - 1) == stack);
  CHECK(pool->find_guard_hit(stack->base - kPage) == stack);
  CHECK(pool->find_guard_hit(stack->base) == nullptr);
  CHECK(pool->find_guard_hit(stack->base - kPage - 1) == nullptr);
  CHECK(pool->find_guard_hit(nullptr) == nullptr);
  CHECK(pool->find_guard_hit(&stack) == nullptr);
  // Reading it is an error in system calls too, so no child must die for the proof.
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  CHECK(write(ends[1], stack->base, 1) == 1);
  CHECK(write(ends[1], stack->base - 1, 1) == -1);
  close(ends[0]);
  close(ends[1]);
}

TEST_CASE("with mprotect forced the maps' limit ends in a clean error", "[fiber][stack]") {
  const DebugSetting debug("guard=mprotect");
  const MapCountFile file("1000\n");
  auto pool = make({.stack_size = 16 * 1024, .caches = 2, .max_map_count_path = file.path()});
  StackCache cache;
  std::error_code error;
  const std::vector<Stack*> stacks = take_all(*pool, cache, 10'000, error);
  CHECK(error == std::errc::not_enough_memory);
  CHECK(stacks.size() <= 500);
  CHECK(stacks.size() >= 300);
  CHECK(pool->stats().unguarded == 0);
  CHECK(std::all_of(stacks.begin(), stacks.end(), [](const Stack* s) { return s->guarded; }));
  give_back(*pool, cache, stacks);
  CHECK(pool->reserve(cache).has_value());
}

TEST_CASE("the limit of stacks follows from vm.max_map_count and from what is left to others", "[fiber][stack]") {
  const DebugSetting debug("guard=mprotect");
  struct Case {
    const char* maps;
    std::uint64_t left;
    std::uint64_t stacks;
  };
  for (const Case& c : std::vector<Case>{{"65530", 0, 32'253},  // what the documents say
                                         {"65530", 1024, 32'253},
                                         {"65530", 8984, 28'273},
                                         {"262144", 1024, 130'560},
                                         {"1000", 1024, 437},
                                         {"1000", 9000, 250},  // never more than half
                                         {"0", 1024, 0}}) {
    const MapCountFile file(c.maps);
    auto pool = make({.max_map_count_path = file.path(), .maps_left = c.left});
    INFO(c.maps << " maps, " << c.left << " left");
    CHECK(pool->stats().most == c.stacks);
  }
  const DebugSetting both("guard=mprotect,max_map_count=65530");
  CHECK(make({})->stats().most == 32'253);
}

TEST_CASE("stacks set aside: ordinary claims leave them, report leaves the last to finish", "[fiber][stack]") {
  const DebugSetting debug("guard=mprotect");
  const MapCountFile file("1000");
  auto pool = make(
      {.stack_size = 16 * 1024, .caches = 200, .max_map_count_path = file.path(), .reserve = 12, .reserve_final = 4});
  CHECK(pool->stats().reserve == 12);
  StackCache cache;
  StackCache other;
  std::error_code error;
  const std::vector<Stack*> stacks = take_all(*pool, cache, 10'000, error);
  CHECK(error == std::errc::not_enough_memory);
  CHECK(stacks.size() + 12 == 437);
  CHECK(pool->stats().reserve_in_use == 0);

  std::vector<Stack*> reports;
  while (reports.size() < 100 && pool->reserve(other, StackClaim::report)) reports.push_back(pool->acquire(other));
  CHECK(reports.size() == 8);
  CHECK(pool->stats().reserve_in_use == 8);
  std::vector<Stack*> last;
  while (last.size() < 100 && pool->reserve(other, StackClaim::finish)) last.push_back(pool->acquire(other));
  CHECK(last.size() == 4);
  CHECK(pool->stats().reserve_in_use == 12);
  CHECK_FALSE(pool->reserve(cache).has_value());

  // What comes back is set aside again, whoever had it, before anybody else gets it.
  pool->release(cache, stacks.back());
  pool->unreserve(cache);
  CHECK(pool->stats().reserve_in_use == 11);
  CHECK_FALSE(pool->reserve(cache).has_value());
  give_back(*pool, other, reports);
  give_back(*pool, other, last);
  CHECK(pool->stats().reserve_in_use == 0);
  CHECK(pool->reserve(cache).has_value());  // the thirteenth that came back
  CHECK_FALSE(pool->reserve(cache).has_value());
  pool->unreserve(cache);
  give_back(*pool, cache, {stacks.begin(), stacks.end() - 1});
  pool->flush(cache);
  pool->flush(other);
  const StackPool::Stats stats = pool->stats();
  CHECK(stats.credits == 0);
  CHECK(stats.in_use == 0);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("guards leave maps to malloc and threads where others have nearly all of them", "[fiber][stack]") {
  const DebugSetting debug("guard=mprotect");
  const auto mode = GENERATE(GuardMode::canary, GuardMode::automatic);
  const bool before = GENERATE(true, false);  // others have them before the pool is made, or take them afterwards
  const int status = in_child([&] {
    const auto occupy = [] {  // all but some 500 of the kernel's maps
      std::ifstream file("/proc/sys/vm/max_map_count");
      std::size_t most = 65'530;
      file >> most;
      const std::size_t pages = most - 1000;
      auto* const p = static_cast<char*>(
          mmap(nullptr, pages * kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
      if (p == MAP_FAILED) _exit(2);
      for (std::size_t i = 0; i < pages; i += 2)
        if (mprotect(p + i * kPage, kPage, PROT_NONE) != 0) _exit(3);
    };
    if (before) occupy();
    auto pool = StackPool::create({.stack_size = 16 * 1024, .mode = mode});
    if (!pool) _exit(4);
    if (!before) occupy();
    StackCache cache;
    std::size_t taken = 0;
    while (taken < 5000 && (*pool)->reserve(cache)) {
      (void)(*pool)->acquire(cache);
      ++taken;
    }
    if (mode == GuardMode::canary ? taken != 5000 : taken == 5000) _exit(5);
    // A thread is two maps, and a large block one.
    std::vector<std::thread> threads;
    try {
      std::atomic<int> waiting{0};
      for (int i = 0; i < 32; ++i)
        threads.emplace_back([&waiting] {
          ++waiting;
          while (waiting < 32) std::this_thread::yield();
        });
      for (std::thread& t : threads) t.join();
      std::vector<std::vector<char>> blocks;
      for (int i = 0; i < 32; ++i) blocks.emplace_back(std::size_t{1} << 20U);
    } catch (...) {
      _exit(6);
    }
    _exit(7);
  });
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 7);
}
#endif

TEST_CASE("an unreadable limit means the kernel's default", "[fiber][stack]") {
  const DebugSetting debug("guard=mprotect");
  const char* path = GENERATE("/nonexistent", "/dev/null");
  auto pool = make({.stack_size = 16 * 1024, .max_map_count_path = path});
  StackCache cache;
  CHECK(pool->reserve(cache).has_value());
}

TEST_CASE("require refuses to go without guards", "[fiber][stack]") {
  const DebugSetting debug("guard=none");
  auto pool = StackPool::create({.mode = GuardMode::require});
  REQUIRE(!pool.has_value());
  CHECK(pool.error() == std::errc::not_supported);

  auto automatic = make({.mode = GuardMode::automatic});
  StackCache cache;
  auto credit = automatic->reserve(cache);
  REQUIRE(!credit.has_value());
  CHECK(credit.error() == std::errc::not_enough_memory);
}

namespace {
std::atomic<int> warnings{0};
void count_warnings(LogLevel level, std::string_view) noexcept { warnings += level == LogLevel::warning ? 1 : 0; }
}  // namespace

TEST_CASE("canary mode goes on without guards, says so once, and sees an overflow", "[fiber][stack]") {
  const DebugSetting debug("guard=mprotect");
  const MapCountFile file("100");
  warnings = 0;
  set_log_sink(&count_warnings);
  auto pool =
      make({.stack_size = 16 * 1024, .mode = GuardMode::canary, .max_stacks = 300, .max_map_count_path = file.path()});
  StackCache cache;
  std::error_code error;
  const std::vector<Stack*> stacks = take_all(*pool, cache, 200, error);
  set_log_sink(nullptr);
  REQUIRE(stacks.size() == 200);
  CHECK(warnings == 1);
  const StackPool::Stats stats = pool->stats();
  CHECK(stats.guard_kind == GuardKind::canary);
  CHECK(stats.unguarded > 100);
  CHECK(stats.unguarded < stats.carved);

  const auto found = std::find_if(stacks.begin(), stacks.end(), [](const Stack* s) { return !s->guarded; });
  REQUIRE(found != stacks.end());
  Stack* bare = *found;
  CHECK(pool->find_guard_hit(bare->base - 1) == nullptr);
  const std::uint64_t bugs = bug_count();
  pool->release(cache, bare);
  CHECK(bug_count() == bugs);
  CHECK(pool->acquire(cache) == bare);
  // A debug build stops at a bug, a release build counts it.
  const int status = in_child([&] {
    signal(SIGABRT, SIG_DFL);  // the test framework's would speak up
    bare->base[-1] = std::byte{0};
    pool->release(cache, bare);
    _exit(bug_count() == bugs + 1 ? 42 : 1);
  });
#ifdef NDEBUG
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 42);
#else
  CHECK(WIFSIGNALED(status));
#endif
}

// Every fiber is told once, with what it does, while others go on.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/fiber/backtrace.hpp"
#include "core/runtime/fiber_list.hpp"
#include "core/runtime/runtime.hpp"
#include "tests/support/sanitized.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;
using namespace fiberd::runtime;
using namespace std::chrono_literals;

/// Exported, so that the dynamic linker knows its name.
namespace fiberd::test {
void reads_one_byte(int fd);
[[gnu::noinline]] void reads_one_byte(int fd) {
  char byte = 0;
  while (::read(fd, &byte, 1) != 1) {
  }
  asm volatile("");  // no tail call
}
}  // namespace fiberd::test

namespace {

struct Told {
  FiberView::State state;
  WaitReason reason;
  std::string stack;
  std::string text;
  bool pinned;
  Deadline until;
  std::int64_t parked_at;
  std::size_t in_use;
  unsigned line;
};
std::map<std::string, std::vector<Told>> list() {
  std::map<std::string, std::vector<Told>> all;
  (void)for_each_fiber([&](const FiberView& f) {
    std::string stack;
    for (const std::uintptr_t frame : f.frames()) stack += fiber::symbolize(frame) + "\n";
    all[std::string(f.origin.name)].push_back({f.state, f.reason, stack, f.waits_for_text, f.pinned, f.until,
                                               f.parked_at, f.stack_in_use,
                                               static_cast<unsigned>(f.origin.where.line())});
    return true;
  });
  return all;
}

/// Parks with each reason that there is, until it is let go.
struct Waits {
  std::atomic<std::uint64_t> ticket{0};
  void park(WaitReason reason, const void* what = nullptr, Deadline deadline = Deadline::never()) {
    const Ticket t = prepare_park(reason, what);
    ticket = t.value;
    (void)park_until(t, deadline);
  }
  void let_go() {
    while (ticket == 0) std::this_thread::yield();
    (void)wake(Ticket{ticket});
  }
};

[[gnu::noinline]] void stuck_deep_inside(Waits& stuck, WaitReason reason) {
  stuck.park(reason);
  asm volatile("");  // no tail call
}

}  // namespace

TEST_CASE("a fiber that waits is told with reason, age, deadline, spawn site and stack", "[fiber_list]") {
  static constexpr auto kReasons = static_cast<std::size_t>(WaitReason::count_);
  const auto rt = test::start_runtime(2);
  const std::int64_t before = monotonic_now();
  std::vector<Waits> stuck(kReasons);
  std::vector<unsigned> lines(kReasons);
  for (std::size_t i = 1; i < kReasons; ++i) {
    lines[i] = __LINE__ + 1;
    REQUIRE(rt->spawn(FiberName::intern(to_string(static_cast<WaitReason>(i))),
                      [&stuck, i] { stuck_deep_inside(stuck[i], static_cast<WaitReason>(i)); }));
  }
  Waits timed;
  REQUIRE(rt->spawn("timed", [&] { timed.park(WaitReason::sleep, nullptr, Deadline::in(1h)); }));
  rt->run([&] {
    for (std::size_t i = 1; i < kReasons; ++i)
      while (stuck[i].ticket == 0) yield();
    while (timed.ticket == 0) yield();
    // The last one may be on its way still.
    std::map<std::string, std::vector<Told>> all;
    for (int tries = 0; tries < 1'000'000; ++tries) {
      all = list();
      if (std::all_of(all.begin(), all.end(),
                      [](const auto& f) { return f.first == "run" || f.second[0].state == FiberView::State::waiting; }))
        break;
      yield();
    }
    for (std::size_t i = 1; i < kReasons; ++i) {
      const auto reason = static_cast<WaitReason>(i);
      INFO(to_string(reason));
      REQUIRE(all[std::string(to_string(reason))].size() == 1);
      const Told& told = all[std::string(to_string(reason))][0];
      CHECK(told.state == FiberView::State::waiting);
      CHECK(told.reason == reason);
      CHECK(told.stack.find("park_until") != std::string::npos);
      CHECK(told.in_use > 0);
      CHECK(told.in_use < 64 * 1024);
      CHECK(told.parked_at >= before - 1'000'000'000);
      CHECK(told.parked_at <= monotonic_now());
      CHECK(told.until.is_never());
      CHECK_FALSE(told.pinned);
      CHECK(told.line == lines[i]);
    }
    REQUIRE(all["timed"].size() == 1);
    CHECK(all["timed"][0].until.ns() > monotonic_now() + 3'000'000'000'000);
  });
  for (std::size_t i = 1; i < kReasons; ++i) stuck[i].let_go();
  timed.let_go();
}

TEST_CASE("who runs is told with its stack, by the thread that runs it", "[fiber_list]") {
  const auto rt = test::start_runtime(2);
  std::atomic<bool> over{false};
  std::atomic<bool> begun{false};
  REQUIRE(rt->spawn("busy", [&] {
    const Pin pin;
    begun = true;
    while (!over) asm volatile("");
  }));
  while (!begun) std::this_thread::yield();
  // From a thread: no fiber is needed to look.
  bool seen = false;
  for (int i = 0; i < 1000 && !seen; ++i) {
    const auto all = list();
    const auto busy = all.find("busy");
    REQUIRE(busy != all.end());
    REQUIRE(busy->second.size() == 1);
    CHECK(busy->second[0].state == FiberView::State::running);
    seen = busy->second[0].stack.find("run_function") != std::string::npos;
  }
  CHECK(seen);
  // And on a fiber, which sees itself.
  rt->run([&] {
    const auto all = list();
    const auto self = std::find_if(all.begin(), all.end(), [](const auto& f) {
      return f.second[0].stack.find("for_each_fiber") != std::string::npos;
    });
    CHECK(self != all.end());
  });
  over = true;
}

TEST_CASE("who blocks its thread in a library's call is told with whoever made it", "[fiber_list]") {
  const auto rt = test::start_runtime(2);
  std::array<int, 2> pipe{};
  std::atomic<bool> done{false};
  REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
  REQUIRE(rt->spawn("blocks", [&] {
    const Pin pin;
    test::reads_one_byte(pipe[0]);
    done = true;
  }));
  // Until it is there it is runnable, or on its way.
  std::string stack;
  for (int i = 0; i < (test::kThreadSanitizer ? 10 : 1000) && stack.find("reads_one_byte") == std::string::npos; ++i) {
    const auto all = list();
    if (const auto blocks = all.find("blocks"); blocks != all.end()) stack = blocks->second.at(0).stack;
  }
  CHECK(::write(pipe[1], "x", 1) == 1);
  INFO(stack);
  // ThreadSanitizer stands between with functions of its own, which keep no frame pointers and take the register.
  if (!test::kThreadSanitizer) CHECK(stack.find("reads_one_byte") != std::string::npos);
  while (!done) std::this_thread::yield();
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_CASE("what a fiber waits for is described while it is held still", "[fiber_list]") {
  static const int kThing = 5;
  set_wait_description(WaitReason::test, [](const void* object, std::string& text) {
    text = "thing " + std::to_string(*static_cast<const int*>(object));
  });
  const auto rt = test::start_runtime(1);
  Waits stuck;
  REQUIRE(rt->spawn("waits", [&] { stuck.park(WaitReason::test, &kThing); }));
  rt->run([&] {
    while (stuck.ticket == 0) yield();
    std::string text;
    for (int i = 0; i < 1'000'000 && text.empty(); ++i) {
      text = list()["waits"].at(0).text;
      yield();
    }
    CHECK(text == "thing 5");
  });
  set_wait_description(WaitReason::test, nullptr);
  stuck.let_go();
}

TEST_CASE("what is read of a wait that ends meanwhile is not told", "[fiber_list]") {
  static Waits* who = nullptr;
  // As the owner of a descriptor that closes it: the number may be another connection's before it is looked up.
  set_wait_description(WaitReason::test, [](const void* /*object*/, std::string& text) {
    text = "another's";
    who->let_go();
  });
  static const int kThing = 5;
  const auto rt = test::start_runtime(1);
  Waits waits;
  who = &waits;
  REQUIRE(rt->spawn("waits", [&] { waits.park(WaitReason::test, &kThing); }));
  rt->run([&] {
    while (waits.ticket == 0) yield();
    std::vector<Told> told;
    for (int i = 0; i < 1'000'000 && (told.empty() || told[0].state != FiberView::State::waiting); ++i) {
      told = list()["waits"];
      if (told.empty()) break;
      yield();
    }
    REQUIRE(told.size() == 1);
    CHECK(told[0].text.empty());
  });
  set_wait_description(WaitReason::test, nullptr);
}

TEST_CASE("fibers that are born, wait and end while others look: each is told at most once, and none is lost",
          "[fiber_list][stress]") {
  static constexpr int kLookers = 3;
  static constexpr int kRounds = 30;
  const auto rt = test::start_runtime(3);
  std::atomic<bool> over{false};
  std::atomic<int> looking{kLookers};
  std::atomic<int> wrong{0};  // Catch2 is for one thread
  Waits fixed;
  REQUIRE(rt->spawn("fixed", [&] { fixed.park(WaitReason::semaphore); }));
  while (fixed.ticket == 0) std::this_thread::yield();
  bool spawned = true;
  for (int i = 0; i < 4; ++i)
    spawned = spawned && rt->spawn("breeder", [&] {
                             while (!over) {
                               std::atomic<int> left{20};
                               for (int child = 0; child < 20; ++child)
                                 if (!spawn("child", [&] {
                                       (void)sleep_for(1us);
                                       yield();
                                       --left;
                                     }))
                                   --left;
                               while (left != 0) yield();
                             }
                           }).has_value();
  for (int i = 0; i < kLookers; ++i)
    spawned =
        spawned && rt->spawn("looker", [&] {
                       for (int round = 0; round < kRounds; ++round) {
                         std::set<std::uint64_t> ids;
                         int fixed_ones = 0;
                         bool twice = false;
                         bool wild = false;
                         const std::size_t n = for_each_fiber([&](const FiberView& f) {
                           twice = !ids.insert(f.origin.id).second || twice;
                           const std::string_view name = f.origin.name;
                           wild = wild || (name != "fixed" && name != "breeder" && name != "child" && name != "looker");
                           fixed_ones += name == "fixed" ? 1 : 0;
                           if (round % 7 == 0) yield();  // as one that writes to a network
                           return true;
                         });
                         if (n != ids.size() || twice || wild || fixed_ones != 1) ++wrong;
                       }
                       --looking;
                     }).has_value();
  while (spawned && looking != 0) std::this_thread::yield();
  over = true;
  fixed.let_go();
  CHECK(spawned);
  CHECK(wrong == 0);
}

TEST_CASE("a visit that says no, or throws, ends the list, and nobody stays held", "[fiber_list]") {
  const auto rt = test::start_runtime(1);
  std::vector<Waits> stuck(5);
  for (Waits& s : stuck) REQUIRE(rt->spawn("stuck", [&s] { s.park(WaitReason::test); }));
  rt->run([&] {
    for (Waits& s : stuck)
      while (s.ticket == 0) yield();
    CHECK(for_each_fiber([](const FiberView&) { return false; }) == 1);
    CHECK_THROWS_AS(for_each_fiber([](const FiberView&) -> bool { throw std::runtime_error("x"); }),
                    std::runtime_error);
    CHECK(for_each_fiber([](const FiberView&) { return true; }) == 6);
  });
  for (Waits& s : stuck) s.let_go();
}

TEST_CASE("a fiber by its index, and none", "[fiber_list]") {
  CHECK(describe_fiber(1) == "a fiber that has ended");
  const auto rt = test::start_runtime(1);
  CHECK(describe_fiber(0) == "a fiber that has ended");
  CHECK(describe_fiber(5'000'000) == "a fiber that has ended");
  Waits stuck;
  REQUIRE(rt->spawn(FiberName::intern("a\"b\nc"), [&] { stuck.park(WaitReason::test); }));
  while (stuck.ticket == 0) std::this_thread::yield();
  const std::string text = describe_fiber(Ticket{stuck.ticket}.fiber_index());
  INFO(text);
  CHECK(text.find("\"a\\\"b\\x0ac\" spawned at tests/unit/runtime/fiber_list_test.cpp:") != std::string::npos);
  stuck.let_go();
}

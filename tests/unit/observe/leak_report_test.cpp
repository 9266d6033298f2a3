// Fibers that wait for ever, as people leave them behind. They cannot be released again, so each case is a process of
// its own, which is forked before it has a runtime and tells what it found.
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/base/clock.hpp"
#include "core/context/context.hpp"
#include "core/context/done_signal.hpp"
#include "core/observe/leak_report.hpp"
#include "core/runtime/fiber_list.hpp"
#include "core/runtime/reference_search.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/mutex.hpp"
#include "core/sync/select.hpp"
#include "core/sync/semaphore.hpp"
#include "core/sync/task.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/support/in_a_child.hpp"

using namespace fiberd;
using namespace std::chrono_literals;

namespace {

constexpr auto kLeakThreshold = 400ms;

using test::in_a_child;

/// Looks as the daemon does, until a look has found `groups` with all of them as certain as they get, or twice the
/// threshold is over.
std::shared_ptr<const observe::LeakReport> look_for(std::size_t certain, std::size_t suspect) {
  observe::LeakWatch watch;
  watch.set({.threshold = kLeakThreshold});
  std::shared_ptr<const observe::LeakReport> report;
  for (int i = 0; i < 64; ++i) {
    report = watch.look();
    if (report->certain == certain && report->suspect == suspect) break;
    std::this_thread::sleep_for(watch.pause());  // the interval between two looks, which is what is tested
  }
  return report;
}

/// "certain channel_receive range" a line, sorted by name; then how late the last one was found, in thresholds.
std::string told_of(const observe::LeakReport& report) {
  std::vector<std::string> lines;
  std::int64_t youngest = 0;
  for (const observe::LeakGroup& g : report.groups) {
    lines.push_back(g.name + ": " + (g.certain ? "certain " : "suspect ") + std::string(runtime::to_string(g.reason)) +
                    " x" + std::to_string(g.count) + "\n");
    youngest = std::max(youngest, g.oldest);
  }
  std::sort(lines.begin(), lines.end());
  std::string text;
  for (const std::string& line : lines) text += line;
  const auto late = std::chrono::nanoseconds(report.at - youngest);
  text += late <= 2 * kLeakThreshold ? "in time\n" : "late: " + std::to_string(late / 1ms) + " ms\n";
  return text + observe::render_leaks(report);
}

void spawn_named(const char* name, UniqueFunction fn, SourceLocation where = SourceLocation::current()) {
  if (!runtime::spawn(runtime::FiberName::intern(name), std::move(fn), where)) std::abort();
}

/// And waits for its end, however late it comes to run.
void run_named(const char* name, UniqueFunction fn, SourceLocation where = SourceLocation::current()) {
  sync::WaitGroup ended;
  ended.add();
  spawn_named(
      name,
      [&ended, fn = std::move(fn)]() mutable {
        fn();
        (void)ended.done();
      },
      where);
  ended.wait();
}

/// Words below the frames of whoever waits afterwards, in what is free of its stack.
[[gnu::noinline]] void leave_behind(const void* what) {
  const void* volatile words[512];
  for (const void* volatile& word : words) word = what;
}

bool report_has(const std::string& text, const std::string& part) {
  INFO(text << "\nhas no " << part);
  const bool found = text.find(part) != std::string::npos;
  CHECK(found);
  return found;
}

}  // namespace

TEST_CASE("the seven classic leaks are named by their place within twice the threshold, certain where nobody is left",
          "[leaks]") {
  if (!runtime::can_search_references()) return;  // the address space of a sanitizer's shadow cannot be read
  const std::string text = in_a_child(
      [](runtime::Runtime& rt) {
        rt.run([] {
          {
            auto values = std::make_shared<sync::Channel<int>>();
            spawn_named("1 range", [values] {
              for (const int v : *values) (void)v;  // nobody closes it
            });
          }
          {
            auto made = context::with_cancel(context::background());
            spawn_named("2 forgotten cancel", [ctx = made.context] { context::when_done(ctx).wait(); });
          }
          {
            auto answer = std::make_shared<sync::Channel<int>>();
            spawn_named("3 blocked send", [answer] { (void)answer->send(1); });  // the one who asked has left
          }
          spawn_named("4 lost wait group", [] {
            sync::WaitGroup parts;
            parts.add(2);
            spawn_named("part", [&parts] { (void)parts.done(); });
            parts.wait();
          });
          {
            auto mutex = std::make_shared<sync::Mutex>();
            run_named("locker", [mutex] { mutex->lock(); });
            spawn_named("5 mutex", [mutex] { const std::scoped_lock lock(*mutex); });
          }
          {
            auto permits = std::make_shared<sync::Semaphore>(1);
            run_named("taker", [permits] { (void)permits->acquire(); });
            spawn_named("6 semaphore", [permits] { (void)permits->acquire(); });
          }
          {
            auto a = std::make_shared<sync::Channel<int>>();
            auto b = std::make_shared<sync::Channel<int>>(1);
            spawn_named("7 select", [a, b] {
              sync::select(sync::on_receive(*a, [](Result<int>) {}), sync::on_receive(*b, [](Result<int>) {}));
            });
          }
        });
        return told_of(*look_for(6, 1));
      },
      1);  // one Processor: a fiber that ends is followed by the next one in its place, which then has its number
  report_has(text,
             "1 range: certain channel_receive x1\n"
             "2 forgotten cancel: certain select x1\n"
             "3 blocked send: certain channel_send x1\n"
             "4 lost wait group: certain wait_group x1\n"
             "5 mutex: certain mutex x1\n"
             "6 semaphore: suspect semaphore x1\n"
             "7 select: certain select x1\n"
             "in time\n");
  report_has(text, "], spawned at tests/unit/observe/leak_report_test.cpp:");
  report_has(text, "; nobody can cancel the context made at tests/unit/observe/leak_report_test.cpp:");
  report_has(text, "because nobody who goes on refers to what it waits at");
  report_has(text, "1 part of the work is not done");
  report_has(text, "2 cases: to receive from 0x");
  report_has(text, "fiberd::sync::WaitGroup::wait");
}

TEST_CASE("a fiber on a learnt stack is lost as certainly as one on any other", "[leaks]") {
  if (!runtime::can_search_references()) return;
  const std::string text = in_a_child(
      [](runtime::Runtime& rt) {
        rt.run([] {
          const SourceLocation here = SourceLocation::current();
          auto values = std::make_shared<sync::Channel<int>>();
          sync::WaitGroup ended;
          for (int i = 0; i < 300; ++i) {
            ended.add();
            spawn_named(
                "shallow", [&ended, values] { (void)ended.done(); }, here);
            if (i % 10 == 9) ended.wait();
          }
          spawn_named(
              "lost",
              [values] {
                leave_behind(values.get());
                (void)values->receive();
              },
              here);
        });
        std::string told = told_of(*look_for(1, 0));
        (void)runtime::for_each_fiber([&](const runtime::FiberView& f) {
          told += "stack: " + std::string(fiber::to_string(f.stack_class)) + "\n";
          return true;
        });
        return told;
      },
      1, {.stack_learning = true});
  report_has(text, "lost: certain channel_receive x1\n");
  report_has(text, "stack: learnt_");
}

TEST_CASE("what a signal's handler has left on its own stack refers to nobody", "[leaks]") {
  if (!runtime::can_search_references()) return;
  static std::atomic<const void*> left{nullptr};
  const std::string text = in_a_child([](runtime::Runtime& rt) {
    rt.run([] {
      auto values = std::make_shared<sync::Channel<int>>();
      spawn_named("lost", [values] {
        struct sigaction action {};
        action.sa_handler = [](int) { leave_behind(left.exchange(nullptr)); };
        action.sa_flags = SA_ONSTACK;
        sigset_t one;
        sigemptyset(&one);
        sigaddset(&one, SIGUSR2);
        left = values.get();
        if (sigaction(SIGUSR2, &action, nullptr) != 0 || pthread_sigmask(SIG_UNBLOCK, &one, nullptr) != 0 ||
            raise(SIGUSR2) != 0 || left != nullptr)
          std::abort();
        (void)values->receive();
      });
    });
    return told_of(*look_for(1, 0));
  });
  report_has(text, "lost: certain channel_receive x1\nin time\n");
}

namespace {

void cross_two_mutexes() {
  struct Two {
    sync::Mutex a, b;
    std::atomic<int> held{0};
  };
  auto two = std::make_shared<Two>();
  const auto cross = [two](sync::Mutex& first, sync::Mutex& second) {
    const std::scoped_lock one(first);
    ++two->held;
    while (two->held != 2) runtime::yield();
    const std::scoped_lock other(second);
  };
  spawn_named("left", [two, cross] { cross(two->a, two->b); });
  spawn_named("right", [two, cross] { cross(two->b, two->a); });
}

}  // namespace

TEST_CASE("a circle of mutexes is certain, without a search", "[leaks]") {
  const std::string text = in_a_child([](runtime::Runtime& rt) {
    rt.run(cross_two_mutexes);
    return told_of(*look_for(2, 0));
  });
  report_has(text, "left: certain mutex x1\nright: certain mutex x1\nin time\n");
  report_has(text, "because they wait for each other: fiber ");
  report_has(text, " waits for fiber ");
}

TEST_CASE("who is found certain for the first time is looked at again soon, and only then", "[leaks]") {
  const std::string text = in_a_child([](runtime::Runtime& rt) {
    rt.run(cross_two_mutexes);
    observe::LeakWatch watch;
    watch.set({.threshold = kLeakThreshold});
    std::string told = watch.pause() == kLeakThreshold / 4 ? "before: an interval\n" : "";
    for (int i = 0; i < 64 && watch.look()->suspect != 2; ++i) std::this_thread::sleep_for(watch.pause());
    if (watch.pause() == kLeakThreshold / 16) told += "in doubt: soon\n";
    if (watch.look()->certain == 2 && watch.pause() == kLeakThreshold / 4) told += "certain: an interval\n";
    watch.set({.threshold = std::chrono::minutes(10)});
    return told + (watch.pause() == std::chrono::minutes(1) ? "a minute\n" : "");
  });
  report_has(text, "before: an interval\nin doubt: soon\ncertain: an interval\na minute\n");
}

TEST_CASE("who waits for one that is lost is lost, too: by a join, a wait group, a mutex", "[leaks]") {
  if (!runtime::can_search_references()) return;
  const std::string text = in_a_child([](runtime::Runtime& rt) {
    rt.run([] {
      auto never = std::make_shared<sync::Channel<int>>();
      spawn_named("joiner", [never] {
        auto task = sync::spawn_task("task", [channel = never.get()] { (void)channel->receive(); });
        if (task) (void)task->join();
      });
      spawn_named("group", [] {
        sync::Channel<int> results;
        sync::WaitGroup parts;
        (void)parts.go("group's part", [&results] { (void)results.send(1); });
        parts.wait();  // and only then would it receive
      });
    });
    return told_of(*look_for(2, 2));
  });
  // The task's function lies on the heap: what it refers to there may be anybody's.
  report_has(text, "group's part: certain channel_send x1\ngroup: certain wait_group x1\n");
  report_has(text, "joiner: suspect join x1\ntask: suspect channel_receive x1\n");
}

TEST_CASE("who may still be woken is a suspect and never certain", "[leaks]") {
  if (!runtime::can_search_references()) return;
  const std::string text = in_a_child([](runtime::Runtime& rt) {
    static std::vector<std::shared_ptr<sync::Channel<int>>> kept;  // on the heap
    static std::vector<context::CancelFunction> cancels;
    auto on_a_thread = std::make_shared<sync::Channel<int>>();  // on this thread's stack
    rt.run([&] {
      auto heap = std::make_shared<sync::Channel<int>>();
      kept.push_back(heap);
      spawn_named("1 heap", [heap] { (void)heap->receive(); });
      spawn_named("2 thread", [channel = on_a_thread] { (void)channel->receive(); });
      auto closure = std::make_shared<sync::Channel<int>>();
      spawn_named("3 closure", [closure] { (void)closure->receive(); });
      spawn_named("sleeper", [closure] {
        (void)runtime::sleep_for(1h);
        closure->close();
      });
      auto made = context::with_cancel(context::background());
      cancels.push_back(made.cancel);
      const auto below = context::with_cancel(made.context);  // who cancels the upper one cancels this one
      spawn_named("4 context", [ctx = below.context] { context::when_done(ctx).wait(); });
      auto stack = std::make_shared<sync::Channel<int>>();
      spawn_named("5 stack", [stack] { (void)stack->receive(); });
      spawn_named("computes", [stack] {
        for (;;) runtime::yield();
        stack->close();
      });
      auto mutex = std::make_shared<sync::Mutex>();
      spawn_named("holder", [mutex] {
        const std::scoped_lock lock(*mutex);
        (void)runtime::sleep_for(1h);
      });
      runtime::yield();
      spawn_named("6 mutex", [mutex] { const std::scoped_lock lock(*mutex); });
      // A plain pointer counts as much as a shared one.
      auto plain = std::make_shared<sync::Channel<int>>();
      spawn_named("7 plain", [plain] { (void)plain->receive(); });
      spawn_named("sleeper", [plain = plain.get()] {
        (void)runtime::sleep_for(1h);
        plain->close();
      });
    });
    observe::LeakWatch watch;
    watch.set({.threshold = kLeakThreshold});
    std::shared_ptr<const observe::LeakReport> report;
    for (int i = 0; i < 8; ++i) {
      std::this_thread::sleep_for(100ms);
      // By another thread: whoever looks passes over its own stack.
      std::thread([&] { report = watch.look(); }).join();
      if (report->certain != 0) break;
    }
    const std::string found = told_of(*report);
    (void)on_a_thread->size();
    return found;
  });
  report_has(text, "0 certain, 7 suspect");
  report_has(text, "1 heap: suspect");
  report_has(text, "4 context: suspect");
  report_has(text, "; nobody has cancelled the context made at tests/unit/observe/leak_report_test.cpp:");
  report_has(text, "6 mutex: suspect");
  report_has(text, "because its holder goes on");
}

TEST_CASE("waits that end by themselves are no leaks, and those of ignored names are not told", "[leaks]") {
  const std::string text = in_a_child([](runtime::Runtime& rt) {
    rt.run([] {
      spawn_named("sleeps", [] { (void)runtime::sleep_for(1h); });
      spawn_named("timed", [] {
        const auto made = context::with_timeout(context::background(), 1h);
        sync::Channel<int> channel;
        (void)channel.receive(made.context);
      });
      spawn_named("timed select", [] {
        sync::Channel<int> channel;
        sync::select(sync::on_receive(channel, [](Result<int>) {}), sync::after(1h));
      });
      spawn_named("worker", [] {
        sync::Channel<int> channel;
        (void)channel.receive();
      });
    });
    std::this_thread::sleep_for(kLeakThreshold);
    const auto report = observe::find_leaks({.threshold = kLeakThreshold / 2, .ignore = {"worker"}});
    const auto all = observe::find_leaks({.threshold = kLeakThreshold / 2});
    return std::to_string(report.groups.size()) + " of " + std::to_string(all.groups.size()) + "\n" +
           observe::render_leaks(all);
  });
  report_has(text, "0 of 1\n");
}

TEST_CASE("growth is counted from look to look, and each place is told to the log once", "[leaks]") {
  const std::string text = in_a_child([](runtime::Runtime& rt) {
    observe::LeakWatch watch;
    watch.set({.threshold = 20ms});
    static sync::Channel<int> never;
    std::string found;
    for (int i = 1; i <= 3; ++i) {
      rt.run([] {
        for (int n = 0; n < 10; ++n) spawn_named("grows", [] { (void)never.receive(); });
      });
      std::this_thread::sleep_for(40ms);
      const auto report = watch.look();
      for (const auto& g : report->groups)
        found += std::to_string(g.count) + " +" + std::to_string(g.growth()) + " after " +
                 std::to_string(g.before.size()) + "\n";
    }
    found += observe::render_leaks(*watch.last()) + observe::render_leaks_json(*watch.last()) +
             observe::render_leak_profile(*watch.last(), true);
    // Numbers by another measure are none, and once nobody looks there is nothing to tell.
    found += "certain and suspect: " + std::to_string(watch.certain() + watch.suspect());
    watch.set({.threshold = 0ms});
    return found + ", then " + std::to_string(watch.certain() + watch.suspect()) + "\n";
  });
  report_has(text, "certain and suspect: 30, then 0\n");
  report_has(text, "10 +10 after 0\n20 +10 after 1\n30 +10 after 2\n");
  report_has(text, "growth: +10 since the last look (10, 20, 30)");
  report_has(text, "\"count\":30,");
  report_has(text, "\"counts_before\":[10,20]");
  report_has(text, "goroutineleak profile: total 30\n30 @ 0x");
}

#include "tests/unit/fiber/migration_cases.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <semaphore>
#include <stdexcept>
#include <thread>

#include "core/base/thread_locals.hpp"
#include "core/fiber/context.hpp"

namespace fiberd::fiber::test {

namespace {

struct TestFiber;

/// A thread that runs fibers, one step at a time, when told to.
struct Carrier {
  SavedContext g0;
  EhGlobals* eh = nullptr;
  ThreadLocals* locals = nullptr;
  TestFiber* next = nullptr;  // null: end
  std::binary_semaphore go{0};
  std::binary_semaphore done{0};
};

struct TestFiber {
  static constexpr std::size_t kStack = 256 * 1024;
  std::unique_ptr<std::byte[]> stack = std::make_unique<std::byte[]>(kStack);
  SavedContext context;
  std::function<void()> body;
  bool ended = false;
};

std::atomic<Carrier*> running{nullptr};  // who runs the current step; steps never overlap
TestFiber* running_fiber = nullptr;
Form form_in_use = Form::native;

std::vector<std::string>& failures() {
  static std::vector<std::string> list;
  return list;
}

[[gnu::noinline]] void expect(bool condition, const char* text, int line) {
  if (!condition) failures().push_back(std::string(text) + ", line " + std::to_string(line));
}
#define EXPECT(condition) expect(condition, #condition, __LINE__)

[[gnu::always_inline]] inline void jump(SavedContext& from, SavedContext& to, EhGlobals* eh, bool dying = false) {
  if (form_in_use == Form::native)
    switch_context(from, to, eh, dying);
  else
    switch_context_boost(from, to, eh, dying);
}

/// Parks the calling fiber; it continues on the other thread. Inline, so that the optimiser sees through it.
[[gnu::always_inline]] inline void hop() {
  Carrier* carrier = running.load(std::memory_order_acquire);
  jump(running_fiber->context, carrier->g0, carrier->eh);
}

void fiber_entry(void* argument) noexcept {
  auto& self = *static_cast<TestFiber*>(argument);
  self.body();
  self.ended = true;
  Carrier* carrier = running.load(std::memory_order_acquire);
  jump(self.context, carrier->g0, carrier->eh, true);
  std::terminate();
}

void step(Carrier& carrier, TestFiber& fiber) {
  running.store(&carrier, std::memory_order_release);
  running_fiber = &fiber;
  jump(carrier.g0, fiber.context, carrier.eh);
  if (fiber.ended) destroy_context(fiber.context);
}

void carrier_loop(Carrier& carrier, bool inside_catch) {
  carrier.eh = thread_eh_globals();
  carrier.locals = thread_locals();
  init_thread_context(carrier.g0);
  for (;;) {
    carrier.go.acquire();
    TestFiber* fiber = carrier.next;
    if (fiber == nullptr) break;
    if (!inside_catch) {
      step(carrier, *fiber);
      EXPECT(std::uncaught_exceptions() == 0);
      EXPECT(std::current_exception() == nullptr);
    } else {
      // The thread's own handler must not be seen by the fiber, nor lost to the thread.
      try {
        throw std::logic_error("the thread's own");
      } catch (const std::logic_error&) {
        step(carrier, *fiber);
        try {
          throw;
        } catch (const std::logic_error& again) {
          EXPECT(std::string(again.what()) == "the thread's own");
        } catch (...) {
          expect(false, "another flow's exception was rethrown on the thread", __LINE__);
        }
      }
    }
    carrier.done.release();
  }
  carrier.done.release();
}

/// Runs the bodies as fibers in turn, each step of a fiber on another thread than the one before.
std::vector<std::string> run(Form form, std::vector<std::function<void()>> bodies, bool inside_catch = false) {
  failures().clear();
  form_in_use = form;
  std::vector<TestFiber> fibers(bodies.size());
  for (std::size_t i = 0; i < fibers.size(); ++i) {
    fibers[i].body = std::move(bodies[i]);
    std::byte* bottom = fibers[i].stack.get();
    init_context(fibers[i].context, bottom + TestFiber::kStack, bottom, &fiber_entry, &fibers[i]);
  }
  std::array<Carrier, 2> carriers;
  std::array<std::thread, 2> threads;
  for (std::size_t i = 0; i < threads.size(); ++i)
    threads[i] = std::thread([&carrier = carriers[i], inside_catch] { carrier_loop(carrier, inside_catch); });
  const auto tell = [&](std::size_t thread, TestFiber* fiber) {
    carriers[thread].next = fiber;
    carriers[thread].go.release();
    carriers[thread].done.acquire();
  };
  bool all_ended = false;
  constexpr std::size_t kMaxRounds = 10'000;
  for (std::size_t round = 0; round < kMaxRounds && !all_ended; ++round) {
    all_ended = true;
    for (std::size_t i = 0; i < fibers.size(); ++i)
      if (!fibers[i].ended) {
        all_ended = false;
        tell((round + i) % threads.size(), &fibers[i]);
      }
  }
  EXPECT(all_ended);
  for (std::size_t i = 0; i < threads.size(); ++i) tell(i, nullptr);
  for (std::thread& thread : threads) thread.join();
  return failures();
}

/// Throws T, moves to the other thread inside the handler, and rethrows there.
template <class T>
void throw_hop_rethrow(const char* text) {
  int caught = 0;
  try {
    try {
      throw T(text);
    } catch (const T& e) {
      hop();
      EXPECT(std::string(e.what()) == text);
      EXPECT(std::current_exception() != nullptr);
      hop();
      throw;
    }
  } catch (const T& e) {
    EXPECT(std::string(e.what()) == text);
    hop();
    ++caught;
  } catch (...) {
    expect(false, "another fiber's exception was rethrown", __LINE__);
  }
  EXPECT(caught == 1);
  EXPECT(std::current_exception() == nullptr);
}

std::vector<std::string> rethrow_after_migration(Form form) {
  return run(form, {[] {
               for (int i = 0; i < 50; ++i) throw_hop_rethrow<std::runtime_error>("one");
             }});
}

std::vector<std::string> handlers_of_many_fibers(Form form) {
  return run(form, {[] {
                      for (int i = 0; i < 50; ++i) throw_hop_rethrow<std::runtime_error>("one");
                    },
                    [] {
                      hop();
                      for (int i = 0; i < 50; ++i) throw_hop_rethrow<std::out_of_range>("two");
                    },
                    [] {
                      for (int i = 0; i < 70; ++i) {
                        throw_hop_rethrow<std::range_error>("three");
                        hop();
                      }
                    }});
}

std::vector<std::string> thread_keeps_its_own_handler(Form form) {
  return run(form,
             {[] {
                EXPECT(std::current_exception() == nullptr);
                for (int i = 0; i < 20; ++i) throw_hop_rethrow<std::runtime_error>("one");
              },
              [] {
                for (int i = 0; i < 20; ++i) throw_hop_rethrow<std::out_of_range>("two");
              }},
             true);
}

void nest(int depth) {
  try {
    throw depth;
  } catch (int outer) {
    hop();
    if (depth > 0) nest(depth - 1);
    hop();
    EXPECT(outer == depth);
    try {
      throw;
    } catch (int again) {
      hop();
      EXPECT(again == depth);
    }
  }
}

std::vector<std::string> nested_handlers(Form form) {
  return run(form, {[] { nest(8); }, [] { nest(5); }});
}

struct HopsWhenDestroyed {
  int expected;
  ~HopsWhenDestroyed() {
    EXPECT(std::uncaught_exceptions() == expected);
    hop();
    EXPECT(std::uncaught_exceptions() == expected);
    // A whole throw and catch inside the unwinding of another.
    try {
      throw 5;
    } catch (int) {
      hop();
    }
    EXPECT(std::uncaught_exceptions() == expected);
  }
};

std::vector<std::string> destructors_that_switch(Form form) {
  const auto body = [] {
    for (int i = 0; i < 20; ++i) {
      bool caught = false;
      try {
        const HopsWhenDestroyed first{1};
        const HopsWhenDestroyed second{1};
        hop();
        throw std::runtime_error("unwinds");
      } catch (const std::runtime_error& e) {
        caught = std::string(e.what()) == "unwinds";
      }
      EXPECT(caught);
      EXPECT(std::uncaught_exceptions() == 0);
      const HopsWhenDestroyed calm{0};
    }
  };
  return run(form, {body, body});
}

std::vector<std::string> exception_pointer_travels(Form form) {
  return run(form, {[] {
               std::exception_ptr kept;
               try {
                 throw std::runtime_error("kept");
               } catch (...) {
                 kept = std::current_exception();
                 hop();
               }
               hop();
               try {
                 std::rethrow_exception(kept);
               } catch (const std::runtime_error& e) {
                 hop();
                 EXPECT(std::string(e.what()) == "kept");
               }
             }});
}

/// The address is read in one function before and after a switch: a compiler that merged the two reads would give the
/// old thread's.
std::vector<std::string> accessor_is_read_again(Form form) {
  return run(form, {[] {
               for (int i = 0; i < 100; ++i) {
                 ThreadLocals* before = thread_locals();
                 EXPECT(before == running.load(std::memory_order_acquire)->locals);
                 thread_locals()->lock_depth += 1;
                 hop();
                 ThreadLocals* after = thread_locals();
                 EXPECT(after != before);
                 EXPECT(after == running.load(std::memory_order_acquire)->locals);
                 thread_locals()->lock_depth += 1;
                 EXPECT(before->lock_depth + after->lock_depth == static_cast<std::uint32_t>(2 * i + 2));
               }
               thread_locals()->lock_depth = 0;
               hop();
               thread_locals()->lock_depth = 0;
             }});
}

constexpr std::array<MigrationCase, 7> kCases{{{"rethrow after migration", &rethrow_after_migration},
                                               {"handlers of many fibers", &handlers_of_many_fibers},
                                               {"thread keeps its own handler", &thread_keeps_its_own_handler},
                                               {"nested handlers", &nested_handlers},
                                               {"destructors that switch", &destructors_that_switch},
                                               {"exception pointer travels", &exception_pointer_travels},
                                               {"accessor is read again", &accessor_is_read_again}}};

}  // namespace

std::span<const MigrationCase> migration_cases() { return kCases; }

}  // namespace fiberd::fiber::test

#if defined(FIBERD_STANDALONE)
#include <cstdio>

int main() {
  int failed = 0;
  for (const auto form : {fiberd::fiber::test::Form::native, fiberd::fiber::test::Form::boost})
    for (const auto& test : fiberd::fiber::test::migration_cases())
      for (const std::string& failure : test.run(form)) {
        std::printf("%s, form %d: %s\n", test.name, static_cast<int>(form), failure.c_str());
        ++failed;
      }
  return failed == 0 ? 0 : 1;
}
#endif

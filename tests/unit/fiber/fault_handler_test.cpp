#include "core/fiber/fault_handler.hpp"

#include <signal.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>
#include <thread>

#include "core/fiber/context.hpp"
#include "core/fiber/stack_pool.hpp"

using namespace fiberd::fiber;

namespace {

StackPool* guarded_pool = nullptr;
SavedContext main_context;
SavedContext fiber_context;

Fault describe(const void* address, const FaultRegisters& /*where*/, OverflowInfo& info) noexcept {
  const Stack* stack = guarded_pool->find_guard_hit(address);
  if (stack == nullptr) return Fault::not_ours;
  info.fiber_id = 17;
  info.name = "deep one";
  info.file = "handlers.cpp";
  info.line = 123;
  info.stack_size = guarded_pool->stack_size();
  info.stack_bottom = reinterpret_cast<std::uintptr_t>(stack->base);
  info.stack_top = reinterpret_cast<std::uintptr_t>(guarded_pool->end(*stack));
  return Fault::overflow;
}

[[gnu::noinline]] int recurse(int depth) {  // NOLINT: it is meant to overflow
  volatile char block[512];
  if (depth < 0) return 0;  // never: the compiler must not see that
  block[0] = static_cast<char>(depth);
  const int below = recurse(depth + 1);
  return below + block[0];
}

void overflow(void*) noexcept {
  volatile int result = recurse(0);
  (void)result;
  std::abort();
}

void fault_elsewhere(void*) noexcept {
  volatile int* volatile wild = reinterpret_cast<volatile int*>(8);
  *wild = 1;  // NOLINT: it is meant to fault
  std::abort();
}

struct Death {
  int status = 0;
  std::string report;
};

/// Runs `entry` as a fiber in a child process and collects what it writes to stderr.
Death die_in(Entry entry) {
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    // What a test framework or a sanitizer installed would report in its own way.
    signal(SIGSEGV, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
    signal(SIGABRT, SIG_DFL);
    auto made = StackPool::create({.stack_size = 64 * 1024});
    if (!made) _exit(2);
    guarded_pool = made->get();
    const SignalStack signal_stack;
    if (!signal_stack.installed() || !install_fault_handler(&describe)) _exit(3);
    StackCache cache;
    if (!guarded_pool->reserve(cache)) _exit(4);
    Stack* stack = guarded_pool->acquire(cache);
    init_thread_context(main_context);
    init_context(fiber_context, guarded_pool->top(*stack), stack->base, entry, nullptr);
    switch_context(main_context, fiber_context, thread_eh_globals());
    _exit(5);
  }
  close(ends[1]);
  Death death;
  std::array<char, 4096> buffer{};
  for (ssize_t n = 0; (n = read(ends[0], buffer.data(), buffer.size())) > 0;)
    death.report.append(buffer.data(), static_cast<std::size_t>(n));
  close(ends[0]);
  REQUIRE(waitpid(pid, &death.status, 0) == pid);
  return death;
}

}  // namespace

TEST_CASE("a stack overflow is reported by name", "[fiber][fault]") {
  const char* setting = GENERATE("", "guard=mprotect");
  setenv("FIBERDEBUG", setting, 1);
  const Death death = die_in(&overflow);
  unsetenv("FIBERDEBUG");
  INFO(death.report);
  CHECK(WIFSIGNALED(death.status));
  CHECK(WTERMSIG(death.status) == SIGABRT);
  CHECK(death.report.find("fiberd: stack overflow: fiber 17 \"deep one\" spawned at handlers.cpp:123, "
                          "stack 65536 bytes, fault at 0x") == 0);
  // The recursion shows as many frames; the trace is bounded.
  const auto lines = std::count(death.report.begin(), death.report.end(), '\n');
  CHECK(lines > 5);
  CHECK(lines < 40);
}

TEST_CASE("any other fault dies as it would have", "[fiber][fault]") {
  const Death death = die_in(&fault_elsewhere);
  CHECK(WIFSIGNALED(death.status));
  CHECK(WTERMSIG(death.status) == SIGSEGV);
  CHECK(death.report.empty());
}

TEST_CASE("a signal stack is large enough and leaves no trace", "[fiber][fault]") {
  bool fits = false;
  bool current = false;
  bool restored = false;
  std::thread([&] {
    stack_t before{};
    sigaltstack(nullptr, &before);
    {
      const SignalStack stack;
#if defined(AT_MINSIGSTKSZ)
      fits = stack.size() >= 4 * getauxval(AT_MINSIGSTKSZ) + 16 * 1024;
#else
      fits = true;
#endif
      stack_t now{};
      sigaltstack(nullptr, &now);
      current = stack.installed() && now.ss_size == stack.size();
    }
    stack_t after{};
    sigaltstack(nullptr, &after);
    restored = after.ss_sp == before.ss_sp && (after.ss_flags & SS_DISABLE) == (before.ss_flags & SS_DISABLE);
  }).join();
  CHECK(fits);
  CHECK(current);
  CHECK(restored);
}

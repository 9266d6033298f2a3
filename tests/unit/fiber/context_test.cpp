#include "core/fiber/context.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <cfenv>
#include <cstring>
#include <memory>
#include <vector>

#include "core/fiber/backtrace.hpp"

using namespace fiberd::fiber;

namespace {

constexpr std::size_t kStack = 256 * 1024;

struct Flow {
  std::unique_ptr<std::byte[]> stack = std::make_unique<std::byte[]>(kStack);
  SavedContext context;
  SavedContext* back = nullptr;
  EhGlobals* eh = nullptr;
  bool boost = false;
  std::vector<int> steps;

  [[gnu::always_inline]] void jump(SavedContext& from, SavedContext& to, bool dying = false) {
    if (boost)
      switch_context_boost(from, to, eh, dying);
    else
      switch_context(from, to, eh, dying);
  }
  [[gnu::always_inline]] void enter() { jump(*back, context); }
  [[gnu::always_inline]] void leave(bool dying = false) { jump(context, *back, dying); }
  void init(Entry entry, SavedContext& main, bool form) {
    boost = form;
    back = &main;
    eh = thread_eh_globals();
    init_thread_context(main);
    init_context(context, stack.get() + kStack, stack.get(), entry, this);
  }
};

void count_steps(void* argument) noexcept {
  auto& flow = *static_cast<Flow*>(argument);
  for (int i = 0; i < 3; ++i) {
    flow.steps.push_back(i);
    flow.leave();
  }
  flow.leave(true);
}

[[gnu::noinline]] void park_in_a_named_function(Flow& flow) {
  flow.leave();
  asm volatile("");
}

void park_deep(void* argument) noexcept {
  auto& flow = *static_cast<Flow*>(argument);
  park_in_a_named_function(flow);
  flow.leave(true);
}

}  // namespace

TEST_CASE("a context runs in steps", "[fiber][context]") {
  const bool boost = GENERATE(false, true);
  Flow flow;
  SavedContext main;
  flow.init(&count_steps, main, boost);
  CHECK(flow.steps.empty());
  for (int i = 0; i < 3; ++i) flow.enter();
  CHECK(flow.steps == std::vector<int>{0, 1, 2});
  flow.enter();
  CHECK(flow.steps.size() == 3);
  destroy_context(flow.context);
}

TEST_CASE("a finished context's stack serves the next one", "[fiber][context]") {
  Flow flow;
  SavedContext main;
  for (int round = 1; round <= 100; ++round) {
    flow.init(&count_steps, main, false);
    for (int i = 0; i < 4; ++i) flow.enter();
    destroy_context(flow.context);
    REQUIRE(flow.steps.size() == static_cast<std::size_t>(3 * round));
  }
}

#if defined(__x86_64__)

namespace {

// Fills every callee-saved register on both sides and looks whether a switch brings them back.
struct Registers {
  std::uint64_t rbx, r12, r13, r14, r15;
  friend bool operator==(const Registers&, const Registers&) = default;
};

void (*switch_once)(Flow& flow, bool entering) noexcept = nullptr;

[[gnu::noinline]] void native_or_boost(Flow& flow, bool entering) noexcept {
  if (entering)
    flow.enter();
  else
    flow.leave();
}

extern "C" __attribute__((used)) void fiberd_test_switch(Flow* flow, std::uint64_t entering) {
  switch_once(*flow, entering != 0);
}

[[gnu::noinline]] Registers with_registers(Flow& flow, bool entering, std::uint64_t seed) {
  Registers out{};
  void (*const call)(Flow*, std::uint64_t) = &fiberd_test_switch;
  struct {
    std::uint64_t rbx, r12, r13, r14, r15;
    void (*call)(Flow*, std::uint64_t);
    Flow* flow;
    std::uint64_t entering;
  } block{seed + 1, seed + 2, seed + 3, seed + 4, seed + 5, call, &flow, entering ? 1U : 0U};
  auto* p = &block;
  // The block's address lies on the (aligned) stack across the call.
  asm volatile(
      "movq %%rsp, %%rdx\n\t"
      "subq $256, %%rsp\n\t"  // past the red zone
      "andq $-16, %%rsp\n\t"
      "movq %%rdx, 8(%%rsp)\n\t"
      "movq %%rax, (%%rsp)\n\t"
      "movq 0(%%rax), %%rbx\n\t"
      "movq 8(%%rax), %%r12\n\t"
      "movq 16(%%rax), %%r13\n\t"
      "movq 24(%%rax), %%r14\n\t"
      "movq 32(%%rax), %%r15\n\t"
      "movq 48(%%rax), %%rdi\n\t"
      "movq 56(%%rax), %%rsi\n\t"
      "call *40(%%rax)\n\t"
      "movq (%%rsp), %%rax\n\t"
      "movq %%rbx, 0(%%rax)\n\t"
      "movq %%r12, 8(%%rax)\n\t"
      "movq %%r13, 16(%%rax)\n\t"
      "movq %%r14, 24(%%rax)\n\t"
      "movq %%r15, 32(%%rax)\n\t"
      "movq 8(%%rsp), %%rsp\n\t"
      : "+a"(p)
      :
      : "rbx", "r12", "r13", "r14", "r15", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2",
        "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
        "memory", "cc");
  out = {block.rbx, block.r12, block.r13, block.r14, block.r15};
  return out;
}

Registers expected(std::uint64_t seed) { return {seed + 1, seed + 2, seed + 3, seed + 4, seed + 5}; }

bool fiber_kept = true;

void check_registers(void* argument) noexcept {
  auto& flow = *static_cast<Flow*>(argument);
  for (std::uint64_t i = 0; i < 20; ++i)
    fiber_kept = fiber_kept && with_registers(flow, false, 1000 * i + 7) == expected(1000 * i + 7);
  flow.leave(true);
}

void set_rounding(void* argument) noexcept {
  auto& flow = *static_cast<Flow*>(argument);
  flow.steps.push_back(std::fegetround());
  std::fesetround(FE_UPWARD);
  flow.leave();
  flow.steps.push_back(std::fegetround());
  flow.leave(true);
}

std::uint16_t x87_control() {
  std::uint16_t word = 0;
  asm volatile("fnstcw %0" : "=m"(word));
  return word;
}
std::uint32_t sse_control() {
  std::uint32_t word = 0;
  asm volatile("stmxcsr %0" : "=m"(word));
  return word;
}

}  // namespace

TEST_CASE("callee-saved registers survive a switch", "[fiber][context]") {
  const bool boost = GENERATE(false, true);
  Flow flow;
  SavedContext main;
  flow.init(&check_registers, main, boost);
  switch_once = &native_or_boost;
  fiber_kept = true;
  bool main_kept = true;
  for (std::uint64_t i = 0; i < 21; ++i)
    main_kept = main_kept && with_registers(flow, true, 31 * i) == expected(31 * i);
  CHECK(main_kept);
  CHECK(fiber_kept);
  destroy_context(flow.context);
}

TEST_CASE("each context has its own floating-point control", "[fiber][context]") {
  const bool boost = GENERATE(false, true);
  Flow flow;
  SavedContext main;
  const std::uint32_t sse = sse_control();
  const std::uint16_t x87 = x87_control();
  flow.init(&set_rounding, main, boost);
  flow.enter();
  CHECK(sse_control() == sse);
  CHECK(x87_control() == x87);
  CHECK(std::fegetround() == FE_TONEAREST);
  flow.enter();
  CHECK(sse_control() == sse);
  CHECK(flow.steps == std::vector<int>{FE_TONEAREST, FE_UPWARD});
  destroy_context(flow.context);
}

#endif

TEST_CASE("a parked context can be walked", "[fiber][context]") {
  const bool boost = GENERATE(false, true);
  Flow flow;
  SavedContext main;
  flow.init(&park_deep, main, boost);
  const auto bottom = reinterpret_cast<std::uintptr_t>(flow.stack.get());
  std::array<std::uintptr_t, 16> frames{};

  SECTION("before its first run") {
    const FrameRegisters r = parked_registers(flow.context);
    CHECK(walk_frames(r.rbp, r.rip, bottom, bottom + kStack, frames) <= 1);
    flow.enter();
  }
  SECTION("inside a call") {
    flow.enter();
    const FrameRegisters r = parked_registers(flow.context);
    CHECK(r.rsp > bottom);
    CHECK(r.rsp <= bottom + kStack);
    const std::size_t n = walk_frames(r.rbp, r.rip, bottom, bottom + kStack, frames);
    CHECK(n >= 2);
    CHECK(n <= 8);
    CHECK(walk_frames(r.rbp, r.rip, bottom, bottom + kStack, std::span(frames).first(1)) == 1);
    // A stack that ends below the frame, or a frame pointer gone wild, must not be followed.
    CHECK(walk_frames(r.rbp, r.rip, bottom, r.rbp, frames) == 1);
    CHECK(walk_frames(r.rbp, r.rip, bottom, r.rbp + 8, frames) == 1);
    CHECK(walk_frames(bottom + 1, r.rip, bottom, bottom + kStack, frames) == 1);
    CHECK(walk_frames(8, r.rip, bottom, bottom + kStack, frames) == 1);
    CHECK(walk_frames(UINTPTR_MAX - 7, r.rip, bottom, bottom + kStack, frames) == 1);
  }
  flow.enter();
  destroy_context(flow.context);
}

TEST_CASE("an exception caught on one context is not seen by another", "[fiber][context]") {
  const bool boost = GENERATE(false, true);
  Flow flow;
  SavedContext main;
  flow.init(&count_steps, main, boost);
  try {
    throw 17;
  } catch (int) {
    flow.enter();
    CHECK(std::current_exception() != nullptr);
    try {
      throw;
    } catch (int again) {
      CHECK(again == 17);
    }
  }
  for (int i = 0; i < 3; ++i) flow.enter();
  destroy_context(flow.context);
}

// Why by the caller's address: the instruction that calls the runtime calls one function of it, so what is below it is
// one wait, wherever in that function it was switched away. Rejected: to have the runtime switch in one place only
// (each way of leaving has a call of its own, for the return to be predicted); to leave the innermost frame out (people
// look for the runtime's name at the top, as Go's gopark).
#include "core/runtime/parked_frames.hpp"

#include <array>
#include <atomic>

namespace fiberd::runtime {
namespace {

/// Never emptied. A program has some dozens of such calls; where the table is full the address stays as it is.
struct Leaf {
  std::atomic<std::uintptr_t> caller{0};
  std::atomic<std::uintptr_t> address{0};
};
constexpr std::size_t kLeaves = 1024;
constexpr std::size_t kProbes = 16;
std::array<Leaf, kLeaves> leaves;

std::uintptr_t leaf_of(std::uintptr_t caller, std::uintptr_t address) noexcept {
  const std::size_t begin = (caller * 0x9e3779b97f4a7c15U) >> 32U;
  for (std::size_t i = 0; i != kProbes; ++i) {
    Leaf& leaf = leaves[(begin + i) % kLeaves];
    std::uintptr_t known = 0;
    if (leaf.caller.compare_exchange_strong(known, caller, std::memory_order_acq_rel)) known = caller;
    if (known != caller) continue;
    std::uintptr_t first = 0;
    return leaf.address.compare_exchange_strong(first, address, std::memory_order_acq_rel) ? address : first;
  }
  return address;
}

}  // namespace

std::size_t parked_frames(const fiber::FrameRegisters& registers, std::uintptr_t stack_bottom, std::uintptr_t stack_top,
                          std::span<std::uintptr_t> frames) noexcept {
  const std::size_t depth = fiber::walk_frames(registers.rbp, registers.rip, stack_bottom, stack_top, frames);
  if (depth > 1) frames[0] = leaf_of(frames[1], frames[0]);
  return depth;
}

}  // namespace fiberd::runtime

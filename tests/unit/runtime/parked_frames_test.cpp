// Return addresses of parked fibers, of stacks that were written by hand.
#include <array>
#include <catch2/catch.hpp>
#include <cstdint>
#include <vector>

#include "core/runtime/parked_frames.hpp"

using namespace fiberd;

namespace {

/// Of a fiber that was switched away at `leaf`, in what was called from `caller`.
std::vector<std::uintptr_t> frames_of(std::uintptr_t leaf, std::uintptr_t caller) {
  std::array<std::uintptr_t, 8> stack{};
  const auto at = [&stack](std::size_t word) { return reinterpret_cast<std::uintptr_t>(stack.data() + word); };
  stack[2] = at(4);  // and that is the outermost frame: 0
  stack[3] = caller;
  fiber::FrameRegisters registers{};
  registers.rip = leaf;
  registers.rbp = at(2);
  registers.rsp = at(0);
  std::vector<std::uintptr_t> frames(16);
  frames.resize(runtime::parked_frames(registers, at(0), at(8), frames));
  return frames;
}

}  // namespace

TEST_CASE("equal waits have equal frames, wherever in the runtime they were switched away", "[parked_frames]") {
  const std::vector<std::uintptr_t> first = frames_of(0x401139, 0x500082);
  REQUIRE(first == std::vector<std::uintptr_t>{0x401139, 0x500082});
  CHECK(frames_of(0x401339, 0x500082) == first);
  CHECK(frames_of(0x401139, 0x500082) == first);
  // Who was called from elsewhere waits elsewhere.
  CHECK(frames_of(0x401339, 0x600082) == std::vector<std::uintptr_t>{0x401339, 0x600082});

  // More places than are remembered keep the addresses that they have, and change nobody else's.
  bool good = true;
  for (std::uintptr_t i = 1; i <= 10'000; ++i) {
    const std::vector<std::uintptr_t> frames = frames_of(0x700000 + i, 0x800000 + 16 * i);
    good = good && frames.size() == 2 && frames[0] == 0x700000 + i && frames[1] == 0x800000 + 16 * i;
  }
  CHECK(good);
  CHECK(frames_of(0x401339, 0x500082) == first);
}

#include "core/runtime/stacks.hpp"

#include <array>

#include "core/base/clock.hpp"
#include "core/fiber/backtrace.hpp"
#include "core/runtime/fiber_list.hpp"
#include "core/runtime/fiber_text.hpp"

namespace fiberd::runtime {

std::string stacks(std::size_t most) {
  std::string text;
  Symbols symbols;
  std::size_t left_out = 0;
  const std::size_t all = for_each_fiber([&](const FiberView& fiber) {
    if (left_out == 0) {
      const std::string one = describe(fiber, monotonic_now(), symbols);
      if (text.size() + one.size() <= most) {
        text += one;
        return true;
      }
    }
    ++left_out;
    return true;
  });
  if (left_out != 0) text += "and " + std::to_string(left_out) + " more of " + std::to_string(all) + " fibers\n";
  return text;
}

std::string stack() {
  std::array<std::uintptr_t, FiberView::kFrames> frames{};
  const std::size_t depth = fiber::capture_backtrace(frames);
  std::string text;
  for (std::size_t i = 0; i < depth; ++i) text += fiber::symbolize(frames[i]) + "\n";
  return text;
}

}  // namespace fiberd::runtime

#include "core/runtime/testing.hpp"

#include <time.h>

#include <algorithm>

#include "core/base/clock.hpp"
#include "core/runtime/fiber_list.hpp"
#include "core/runtime/fiber_text.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::testing {

static constexpr std::size_t kMostTold = 100;

LeakCheck::LeakCheck(LeakCheckOptions options) : options_(std::move(options)) {
  (void)runtime::for_each_fiber([this](const runtime::FiberView& f) {
    before_.push_back(f.origin.id);
    return true;
  });
  std::sort(before_.begin(), before_.end());
}

std::string LeakCheck::leaks() const {
  const Deadline end = Deadline::in(options_.patience);
  for (std::chrono::nanoseconds pause = std::chrono::microseconds(100);;
       pause = std::min<std::chrono::nanoseconds>(2 * pause, std::chrono::milliseconds(20))) {
    const bool last = monotonic_now() >= end.ns();
    std::string text;
    std::size_t left = 0;
    runtime::Symbols symbols;
    (void)runtime::for_each_fiber([&](const runtime::FiberView& f) {
      if (std::binary_search(before_.begin(), before_.end(), f.origin.id)) return true;
      if (std::find(options_.ignore.begin(), options_.ignore.end(), f.origin.name) != options_.ignore.end())
        return true;
      ++left;
      if (!last) return false;  // one is enough to wait on
      if (left <= kMostTold) text += runtime::describe(f, monotonic_now(), symbols);
      return true;
    });
    if (left == 0) return {};
    if (last) {
      std::string head = std::to_string(left) + (left == 1 ? " fiber is left" : " fibers are left") +
                         " that were spawned meanwhile:\n\n";
      if (left > kMostTold) text += "and " + std::to_string(left - kMostTold) + " more\n";
      return head + text;
    }
    if (runtime::on_fiber()) {
      (void)runtime::sleep_for(pause);
    } else {
      const timespec some{0, static_cast<long>(pause.count())};
      (void)nanosleep(&some, nullptr);
    }
  }
}

}  // namespace fiberd::testing

#include "core/runtime/unsent_values.hpp"

#include <atomic>

namespace fiberd::runtime {

static std::atomic<std::uint64_t> unsent{0};

void count_unsent() noexcept { unsent.fetch_add(1, std::memory_order_relaxed); }
std::uint64_t unsent_count() noexcept { return unsent.load(std::memory_order_relaxed); }

}  // namespace fiberd::runtime

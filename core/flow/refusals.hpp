#pragma once
// RefusalCounts: how often each reason was given. Nothing is refused without being counted here; an exporter reads them
// (metric::Registry::callback).
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/flow/errc.hpp"

namespace fiberd::flow {

inline constexpr std::size_t kReasons = static_cast<std::size_t>(errc::no_worker) + 1;

class RefusalCounts {
 public:
  void add(errc reason) noexcept { counts_[static_cast<std::size_t>(reason)].fetch_add(1, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t of(errc reason) const noexcept {
    return counts_[static_cast<std::size_t>(reason)].load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t total() const noexcept {
    std::uint64_t n = 0;
    for (const auto& count : counts_) n += count.load(std::memory_order_relaxed);
    return n;
  }

 private:
  std::array<std::atomic<std::uint64_t>, kReasons> counts_{};
};

}  // namespace fiberd::flow

#pragma once
// SiteTable: how often something happened, by the place in the source that it is told of; a bounded number of places.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/base/lock.hpp"
#include "core/base/source_location.hpp"

namespace fiberd::context {

struct ContextSite {
  SourceLocation where;
  std::uint64_t count = 0;
};

/// Thread-safe. For what should not happen: its lock is wanted each time it does, and a search is linear.
template <std::size_t kMost>
class SiteTable {
 public:
  void count(const SourceLocation& where) noexcept {
    total_.fetch_add(1, std::memory_order_relaxed);
    const std::uint_least32_t line = where.line();
    const LockGuard guard(lock_);
    for (std::size_t i = 0; i < used_; ++i) {
      Entry& e = entries_[i];
      if (e.line != line || std::strcmp(e.site.where.file_name(), where.file_name()) != 0) continue;
      ++e.site.count;
      return;
    }
    if (used_ == kMost)
      ++others_;
    else
      entries_[used_++] = {line, {where, 1}};
  }
  [[nodiscard]] std::uint64_t total() const noexcept { return total_.load(std::memory_order_relaxed); }
  /// Most first. Where there were more than kMost places, the last entry has an empty file name and counts the rest.
  [[nodiscard]] std::vector<ContextSite> sites() const {
    std::vector<ContextSite> out;
    out.reserve(kMost + 1);
    std::uint64_t others = 0;
    {
      const LockGuard guard(lock_);
      for (std::size_t i = 0; i < used_; ++i) out.push_back(entries_[i].site);
      others = others_;
    }
    std::ranges::sort(out, [](const ContextSite& a, const ContextSite& b) { return a.count > b.count; });
    if (others != 0) out.push_back({SourceLocation(), others});
    return out;
  }

 private:
  struct Entry {
    std::uint_least32_t line = 0;  // here, so that a search looks into no other memory
    ContextSite site;
  };
  mutable Lock lock_;
  std::array<Entry, kMost> entries_ FIBERD_GUARDED_BY(lock_){};
  std::size_t used_ FIBERD_GUARDED_BY(lock_) = 0;
  std::uint64_t others_ FIBERD_GUARDED_BY(lock_) = 0;
  std::atomic<std::uint64_t> total_{0};
};

}  // namespace fiberd::context

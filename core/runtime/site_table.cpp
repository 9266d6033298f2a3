#include "core/runtime/site_table.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace fiberd::runtime {

using fiber::StackClass;

static constexpr std::array kLearntClasses{StackClass::learnt_16, StackClass::learnt_32, StackClass::learnt_64};

static constexpr std::uint32_t word_of(StackClass c, bool learnt, std::uint32_t mask) noexcept {
  return static_cast<std::uint32_t>(c) | (learnt ? SitePlan::kLearnt : 0U) | (mask << 8U);
}

/// Learnt ones from the smallest, then the normal one.
static std::size_t rank_of(StackClass c) noexcept {
  return static_cast<std::size_t>(std::find(kLearntClasses.begin(), kLearntClasses.end(), c) - kLearntClasses.begin());
}

SiteTable::SiteTable() noexcept {
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
  void* const p =
      mmap(nullptr, sizeof(Tables), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p != MAP_FAILED) tables_ = static_cast<Tables*>(p);
}

SiteTable::~SiteTable() {
  if (tables_ != nullptr) munmap(tables_, sizeof(Tables));
}

void SiteTable::configure(bool measure, bool apply, std::size_t normal_size) noexcept {
  measure_ = measure;
  apply_.store(apply, std::memory_order_relaxed);
  normal_size_ = normal_size;
  // Of many places together nothing is learnt.
  tables_->sites[kOthers].plan.store(word_of(StackClass::normal, false, 0xff'ffffU), std::memory_order_relaxed);
}

/// A class that is no smaller than the usual one has no use.
bool SiteTable::fits(StackClass c) const noexcept { return fiber::learnt_size(c) * 3 / 2 <= normal_size_; }

void SiteTable::stop_applying() noexcept {
  apply_.store(false, std::memory_order_relaxed);
  for (std::uint32_t i = 1; i < size(); ++i) {
    std::atomic<std::uint32_t>& plan = tables_->sites[i].plan;
    std::uint32_t word = plan.load(std::memory_order_relaxed);
    while (!plan.compare_exchange_weak(word, (word & ~0x7fU) | static_cast<std::uint32_t>(StackClass::normal),
                                       std::memory_order_relaxed)) {
    }
  }
}

[[gnu::noinline]] std::uint16_t SiteTable::find_slow(std::uint64_t key, SourceLocation where,
                                                     std::string_view name) noexcept {
  std::size_t at = slot_of(key);
  const auto probe = [&] {
    for (;; at = (at + 1) % kKeys) {
      const std::uint64_t there = tables_->keys[at].key.load(std::memory_order_acquire);
      if (there == key || there == 0) return there == key;
    }
  };
  if (probe()) return tables_->keys[at].site.load(std::memory_order_relaxed);
  const LockGuard guard(lock_);
  if (probe()) return tables_->keys[at].site.load(std::memory_order_relaxed);
  // A quarter stays free: each search ends soon.
  if (keys_used_ == kMostKeys) return kOthers;
  ++keys_used_;
  const std::uint16_t site = enter(where, name);
  tables_->keys[at].site.store(site, std::memory_order_relaxed);
  tables_->keys[at].key.store(key, std::memory_order_release);
  return site;
}

std::uint16_t SiteTable::enter(SourceLocation where, std::string_view name) noexcept {
  const std::uint32_t n = count_.load(std::memory_order_relaxed);
  for (std::uint32_t i = 1; i < n; ++i) {
    const Site& s = tables_->sites[i];
    if (s.line == where.line() && std::strcmp(s.file, where.file_name()) == 0) return static_cast<std::uint16_t>(i);
  }
  if (n == kSites) return kOthers;
  Site& s = tables_->sites[n];
  s.file = where.file_name();
  s.line = static_cast<std::uint32_t>(where.line());
  s.name = name.data();  // a FiberName's: it lives for ever
  s.name_length = name.size();
  s.plan.store(word_of(StackClass::normal, false, measure_ ? 0 : 0xff'ffffU), std::memory_order_relaxed);
  count_.store(n + 1, std::memory_order_release);
  return static_cast<std::uint16_t>(n);
}

void SiteTable::began_measured(std::uint16_t site) noexcept {
  Site& s = tables_->sites[site];
  if (s.begun.fetch_add(1, std::memory_order_relaxed) + 1 != kFirst) return;
  // They may live for long. Until enough have ended, some more are measured.
  std::uint32_t word = s.plan.load(std::memory_order_relaxed);
  while ((word & SitePlan::kLearnt) == 0 &&
         !s.plan.compare_exchange_weak(word, (word & 0xffU) | (kSparseMask << 8U), std::memory_order_relaxed)) {
  }
}

bool SiteTable::measured(std::uint16_t site, std::size_t high_water) noexcept {
  Site& s = tables_->sites[site];
  const auto depth = static_cast<std::uint32_t>(high_water);
  std::uint32_t deepest = s.high_water.load(std::memory_order_relaxed);
  while (deepest < depth && !s.high_water.compare_exchange_weak(deepest, depth, std::memory_order_relaxed)) {
  }
  if (s.samples.fetch_add(1, std::memory_order_relaxed) + 1 < kFirst) return false;
  const SitePlan now = plan(site);
  return !now.learnt() || (applies() && rank_of(now.stack_class()) < rank_of(wanted_class(site)));
}

StackClass SiteTable::wanted_class(std::uint16_t site) const noexcept {
  const std::uint32_t deepest = tables_->sites[site].high_water.load(std::memory_order_relaxed);
  for (const StackClass c : kLearntClasses)
    if (deepest <= fiber::learnt_size(c) / 2 && fits(c)) return c;
  return StackClass::normal;
}

void SiteTable::give(std::uint16_t site, StackClass c) noexcept {
  std::atomic<std::uint32_t>& plan = tables_->sites[site].plan;
  std::uint32_t word = plan.load(std::memory_order_relaxed);
  for (;;) {
    const SitePlan old{word};
    // Never back to a smaller one: perhaps it was too small meanwhile.
    const StackClass next = old.learnt() && rank_of(old.stack_class()) > rank_of(c) ? old.stack_class() : c;
    if (plan.compare_exchange_weak(word, word_of(next, true, kRareMask), std::memory_order_relaxed)) return;
  }
}

void SiteTable::ran_after(std::uint16_t site, std::size_t bucket, std::uint64_t latency, bool by_itself) noexcept {
  Site& s = tables_->sites[site];
  s.latency[bucket].fetch_add(1, std::memory_order_relaxed);
  s.latency_sum.fetch_add(latency, std::memory_order_relaxed);
  s.wakes.fetch_add(1, std::memory_order_relaxed);
  if (by_itself) s.wakes_by_itself.fetch_add(1, std::memory_order_relaxed);
}

void SiteTable::ran_long(std::uint16_t site, std::uint64_t ns) noexcept {
  Site& s = tables_->sites[site];
  s.long_runs.fetch_add(1, std::memory_order_relaxed);
  std::uint64_t longest = s.longest_run.load(std::memory_order_relaxed);
  while (longest < ns && !s.longest_run.compare_exchange_weak(longest, ns, std::memory_order_relaxed)) {
  }
}

void SiteTable::outgrew(const Outgrown& what) noexcept {
  outgrown_.fetch_add(1, std::memory_order_relaxed);
  Site& s = tables_->sites[what.site];
  s.outgrown.fetch_add(1, std::memory_order_relaxed);
  std::uint32_t word = s.plan.load(std::memory_order_relaxed);
  for (;;) {
    // Fibers of the class before may end up here after the place has a larger one already.
    const SitePlan old{word};
    const std::size_t up = rank_of(what.from) + 1;
    if (what.site == kOthers || !old.learnt() || rank_of(old.stack_class()) >= up) break;
    const StackClass next =
        up < kLearntClasses.size() && fits(kLearntClasses[up]) ? kLearntClasses[up] : StackClass::normal;
    if (s.plan.compare_exchange_weak(word, (word & ~0x7fU) | static_cast<std::uint32_t>(next),
                                     std::memory_order_relaxed))
      break;
  }
  for (Report& report : reports_) {
    std::uint32_t free = 0;
    if (!report.state.compare_exchange_strong(free, 1, std::memory_order_acquire)) continue;
    report.what = what;
    report.state.store(2, std::memory_order_release);
    return;
  }
}

bool SiteTable::next_outgrown(Outgrown& what) noexcept {
  if (outgrown_.load(std::memory_order_relaxed) == 0) return false;
  for (Report& report : reports_) {
    if (report.state.load(std::memory_order_acquire) != 2) continue;
    what = report.what;
    report.state.store(0, std::memory_order_release);
    return true;
  }
  return false;
}

void SiteTable::read(std::uint16_t site, SpawnSiteStats& out) const noexcept {
  const Site& s = tables_->sites[site];
  if (site != kOthers) {
    out.file = s.file;
    out.line = s.line;
    out.name = {s.name, s.name_length};
  }
  for (std::size_t i = 0; i < out.latency_buckets.size(); ++i)
    out.latency_buckets[i] = s.latency[i].load(std::memory_order_relaxed);
  out.latency_sum_ns = s.latency_sum.load(std::memory_order_relaxed);
  out.wakes = s.wakes.load(std::memory_order_relaxed);
  out.wakes_by_itself = s.wakes_by_itself.load(std::memory_order_relaxed);
  out.long_runs = s.long_runs.load(std::memory_order_relaxed);
  out.longest_run_ns = s.longest_run.load(std::memory_order_relaxed);
  out.stacks_measured = s.samples.load(std::memory_order_relaxed);
  out.stack_high_water = s.high_water.load(std::memory_order_relaxed);
  out.outgrown = s.outgrown.load(std::memory_order_relaxed);
  const SitePlan now = plan(site);
  out.learnt = now.learnt();
  out.stack_class = now.stack_class();
  out.fitting = now.learnt() ? wanted_class(site) : StackClass::normal;
}

}  // namespace fiberd::runtime

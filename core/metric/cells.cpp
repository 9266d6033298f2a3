#include "core/metric/cells.hpp"

#include <cstdlib>
#include <new>

namespace fiberd::metric {

Cells::~Cells() {
  for (auto& slot : shards_) {
    Shard* shard = slot.load(std::memory_order_acquire);
    if (shard == nullptr) continue;
    for (auto& segment : shard->segments) std::free(segment.load(std::memory_order_relaxed));
    delete shard;
  }
}

CellId Cells::allocate(std::uint32_t n) {
  if (const auto spare = spare_.find(n); spare != spare_.end() && !spare->second.empty()) {
    const CellId first = spare->second.back();
    spare->second.pop_back();
    for (CellId id = first; id < first + n; ++id) clear(id);
    return first;
  }
  constexpr CellId kLimit = CellId{1} << 31U;
  if (n > kLimit - next_) throw std::bad_alloc();
  const CellId first = next_;
  // The first and the last cell may lie in neighbouring segments; all between belong to one of them or are walked too.
  for (CellId id = first; id < first + n; id += 1U << kFirstBits)
    if (!ensure(0, id)) throw std::bad_alloc();
  if (n > 0 && !ensure(0, first + n - 1)) throw std::bad_alloc();
  next_ += n;
  return first;
}

void Cells::recycle(CellId first, std::uint32_t n) noexcept {
  try {
    spare_[n].push_back(first);
  } catch (const std::bad_alloc&) {  // they stay as they are
  }
}

/// The highest shard that anything was counted in, of all Cells: who adds up need not ask those beyond.
static constinit std::atomic<ShardId> highest_used{0};

static void note_use(ShardId shard) noexcept {
  ShardId highest = highest_used.load(std::memory_order_relaxed);
  while (highest < shard && !highest_used.compare_exchange_weak(highest, shard, std::memory_order_release)) {
  }
}

bool Cells::ensure(ShardId shard, CellId id) noexcept {
  note_use(shard);
  // Publishing by CAS: the owner of the shard is alone on this path, but registration and shard 0 need not be.
  Shard* s = shards_[shard].load(std::memory_order_acquire);
  if (s == nullptr) {
    auto* fresh = new (std::nothrow) Shard;
    if (fresh == nullptr) return false;
    if (shards_[shard].compare_exchange_strong(s, fresh, std::memory_order_acq_rel)) {
      s = fresh;
      bytes_.fetch_add(sizeof(Shard), std::memory_order_relaxed);
    } else {
      delete fresh;
    }
  }
  const Place p = place(id);
  Cell* segment = s->segments[p.segment].load(std::memory_order_acquire);
  if (segment != nullptr) return true;
  // All-zero bytes are a valid atomic<uint64_t>; calloc leaves large segments to the kernel's zero page.
  auto* fresh = static_cast<Cell*>(std::calloc(p.size, sizeof(Cell)));
  if (fresh == nullptr) return false;
  if (s->segments[p.segment].compare_exchange_strong(segment, fresh, std::memory_order_acq_rel)) {
    bytes_.fetch_add(p.size * sizeof(Cell), std::memory_order_relaxed);
  } else {
    std::free(fresh);
  }
  return true;
}

void Cells::add_slow(ShardId shard, CellId id, std::uint64_t delta) noexcept {
  if (ensure(shard, id)) {
    Cell* cell = find(shard, id);
    cell->store(cell->load(std::memory_order_relaxed) + delta, std::memory_order_relaxed);
  } else {
    find(0, id)->fetch_add(delta, std::memory_order_relaxed);
  }
}

void Cells::add_elsewhere(Spot spot, std::uint64_t delta) noexcept { add(id_of(spot), delta); }

void Cells::clear(CellId id) noexcept {
  for (ShardId shard = 0, highest = highest_used.load(std::memory_order_acquire); shard <= highest; ++shard)
    if (Cell* cell = find(shard, id)) cell->store(0, std::memory_order_relaxed);
}

std::uint64_t Cells::sum(CellId id) const noexcept {
  std::uint64_t total = 0;
  for (ShardId shard = 0, highest = highest_used.load(std::memory_order_acquire); shard <= highest; ++shard)
    if (const Cell* cell = find(shard, id)) total += cell->load(std::memory_order_relaxed);
  return total;
}

}  // namespace fiberd::metric

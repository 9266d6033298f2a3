#include "core/runtime/trace_reader.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <queue>
#include <utility>

namespace fiberd::runtime {

TraceReader::TraceReader(const Tracer& tracer, From from) : tracer_(tracer), from_(from), anchor_(Tracer::moment()) {
  // One line through two moments for the whole reading: with a new one for each look the clock would jump between them.
  const Tracer::Moment& began = tracer_.began();
  if (anchor_.ticks > began.ticks && anchor_.ns > began.ns)
    ns_per_tick_ = static_cast<double>(anchor_.ns - began.ns) / static_cast<double>(anchor_.ticks - began.ticks);
  start_ = from == From::now ? anchor_.ns : INT64_MIN;
  until_ = anchor_.ns;
}

std::int64_t TraceReader::time_of(std::uint64_t ticks) const noexcept {
  const auto behind = static_cast<std::int64_t>(ticks - anchor_.ticks);
  return anchor_.ns + static_cast<std::int64_t>(std::llround(static_cast<double>(behind) * ns_per_tick_));
}

/// False: it is being written over.
bool TraceReader::copy_chunk(Source& source, const TraceChunk& chunk, std::uint64_t number, std::uint64_t& lost) {
  const std::uint64_t before = chunk.before.load(std::memory_order_acquire);
  const std::uint32_t fiber = chunk.fiber.load(std::memory_order_acquire);
  std::size_t used = chunk.used.load(std::memory_order_acquire);
  if (used == 0) {
    // The one that is being written, as it seems: then the cursor is in it, or at its end.
    const TraceEvent* const cursor = source.ring->cursor();
    const std::less_equal<> not_behind;
    const TraceEvent* const first = chunk.events.data();
    if (not_behind(first, cursor) && not_behind(cursor, first + TraceChunk::kEvents))
      used = static_cast<std::size_t>(cursor - first);
  }
  if (chunk.number.load(std::memory_order_acquire) != number) return false;
  if (!source.begun && !source.whole) source.next = std::max(source.next, before);
  if (before + used <= source.next && source.begun) return true;
  const bool gap = !source.begun || before > source.next;
  const std::size_t skip = source.next > before ? static_cast<std::size_t>(source.next - before) : 0;
  const std::size_t kept = source.slots.size();
  for (std::size_t i = skip; i < used; ++i) {
    const TraceEvent& e = chunk.events[i];
    const std::uint64_t low = e.low.load(std::memory_order_acquire);
    const std::uint64_t high = e.high.load(std::memory_order_acquire);
    source.slots.push_back({(high << 32U) | low, e.word.load(std::memory_order_acquire)});
  }
  if (chunk.number.load(std::memory_order_acquire) != number) {
    source.slots.resize(kept);
    return false;
  }
  if (gap) {
    if (source.begun) lost += before - source.next;
    source.gaps.push_back({kept, fiber, source.ring->place()});
  }
  source.begun = true;
  source.next = before + used;
  return true;
}

std::uint64_t TraceReader::copy(Source& source) {
  // What was told is thrown away first.
  source.slots.erase(source.slots.begin(), source.slots.begin() + static_cast<std::ptrdiff_t>(source.at));
  for (Gap& gap : source.gaps) gap.at -= std::min(gap.at, source.at);
  source.gaps.erase(source.gaps.begin(), source.gaps.begin() + static_cast<std::ptrdiff_t>(source.gap));
  source.gap = source.at = 0;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> order;
  for (std::uint32_t i = 0, n = source.ring->chunks(); i < n; ++i)
    if (const std::uint64_t number = source.ring->chunk(i).number.load(std::memory_order_acquire); number != 0)
      order.emplace_back(number, i);
  std::sort(order.begin(), order.end());
  if (!source.whole && !source.begun && order.size() > 1) order.erase(order.begin(), order.end() - 1);
  std::uint64_t lost = 0;
  for (const auto& [number, i] : order) (void)copy_chunk(source, source.ring->chunk(i), number, lost);
  return lost;
}

std::size_t TraceReader::slots_of(const Source& source) noexcept {
  const Slot& slot = source.slots[source.at];
  switch (static_cast<TraceKind>(slot.word & 0xffU)) {
    case TraceKind::spawn: return 2;
    case TraceKind::log:
      if (source.at + 1 < source.slots.size()) return 1 + (1 + (source.slots[source.at + 1].first & 0xffU) + 15) / 16;
      return 1;
    default: return 1;
  }
}

/// The event at source.at, which becomes the next one.
void TraceReader::tell(Source& source, std::uint32_t index, const Visit& visit) {
  while (source.gap < source.gaps.size() && source.gaps[source.gap].at <= source.at) {
    source.current = source.gaps[source.gap].fiber;
    source.place = source.gaps[source.gap].place;
    source.behind_gap = true;
    ++source.gap;
  }
  const Slot& slot = source.slots[source.at];
  const std::size_t slots = slots_of(source);
  TraceItem item;
  item.kind = static_cast<TraceKind>(slot.word & 0xffU);
  item.time = source.last = std::max(source.last, time_of(slot.first));
  item.ring = index;
  item.by = source.current;
  item.fiber = static_cast<std::uint32_t>(slot.word >> 8U) & 0xffffffU;
  item.argument = static_cast<std::uint32_t>(slot.word >> 32U);
  item.thread = source.thread;
  std::array<char, 512> bytes;
  switch (item.kind) {
    case TraceKind::owner:
      source.current = item.fiber;
      source.thread = item.argument;
      break;
    case TraceKind::place: source.place = item.argument; break;
    case TraceKind::run:
      if (index != TraceItem::kShared) source.current = item.fiber;
      break;
    case TraceKind::stop:
      if (index != TraceItem::kShared) source.current = 0;
      break;
    case TraceKind::spawn:
      if (source.at + 1 < source.slots.size()) {
        item.site = reinterpret_cast<const void*>(source.slots[source.at + 1].first);
        item.text = reinterpret_cast<const char*>(source.slots[source.at + 1].word);
      }
      break;
    case TraceKind::log:
    case TraceKind::request_begin:
    case TraceKind::region_begin:
    case TraceKind::region_end:
      item.text = reinterpret_cast<const char*>(slot.word >> 8U);
      item.fiber = item.by;
      item.argument = 0;
      break;
    default: break;
  }
  if (item.kind == TraceKind::log && source.at + slots <= source.slots.size() && slots > 1) {
    std::memcpy(bytes.data(), &source.slots[source.at + 1], (slots - 1) * sizeof(Slot));
    item.message = {bytes.data() + 1, static_cast<unsigned char>(bytes[0])};
  }
  item.place = source.place;
  source.at = std::min(source.at + slots, source.slots.size());
  if (item.kind == TraceKind::owner || item.time < start_) return;
  item.behind_gap = std::exchange(source.behind_gap, false);
  visit(item);
}

std::uint64_t TraceReader::look(const Visit& visit) {
  const std::int64_t until = time_of(trace_now().ticks());
  const bool first = sources_.empty();
  const auto add = [&](const TraceRing* ring) {
    Source& source = sources_.emplace_back();
    source.ring = ring;
    source.whole = !first || from_ == From::oldest;  // of a Processor that is new since the last look all is news
  };
  if (first) add(tracer_.shared());
  const std::vector<const TraceRing*> rings = tracer_.rings();
  for (std::size_t i = sources_.size() - 1; i < rings.size(); ++i) add(rings[i]);
  std::uint64_t lost = 0;
  using Head = std::pair<std::int64_t, std::uint32_t>;  // time, source
  std::priority_queue<Head, std::vector<Head>, std::greater<>> heads;
  const auto push = [&](std::uint32_t i) {
    const Source& s = sources_[i];
    if (s.at < s.slots.size())
      if (const std::int64_t time = std::max(s.last, time_of(s.slots[s.at].first)); time <= until)
        heads.emplace(time, i);
  };
  for (std::uint32_t i = 0; i < sources_.size(); ++i) {
    if (sources_[i].ring == nullptr) continue;
    lost += copy(sources_[i]);
    push(i);
  }
  while (!heads.empty()) {
    const std::uint32_t i = heads.top().second;
    heads.pop();
    tell(sources_[i], i, visit);
    push(i);
  }
  until_ = until;
  return lost;
}

void TracePauses::see(const TraceItem& item) {
  if (item.ring == TraceItem::kShared) return;
  if (turns_.size() <= item.ring) turns_.resize(item.ring + 1);
  Turn& turn = turns_[item.ring];
  if (item.behind_gap) turn = {item.time, item.by != 0};
  if (item.kind != TraceKind::run && item.kind != TraceKind::stop && item.kind != TraceKind::sleep) return;
  if (turn.runs) longest_ = std::max(longest_, item.time - turn.since);
  turn.runs = item.kind == TraceKind::run;
  turn.since = item.time;
}

std::int64_t TracePauses::take_longest(std::int64_t now) {
  std::int64_t longest = std::exchange(longest_, 0);
  for (const Turn& turn : turns_)
    if (turn.runs) longest = std::max(longest, now - turn.since);
  return longest;
}

}  // namespace fiberd::runtime

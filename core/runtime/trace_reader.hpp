#pragma once
// TraceReader: what the rings hold, copied beside their writers and told in the order of time.
//
// A look copies each ring as far as it goes and tells events up to the moment at which the look began: what another
// ring may still have before a later one is kept for the next look. So nothing is told out of order by more than a
// thread takes from reading the clock to storing the event (it may be robbed of its CPU there); per ring the clock
// never goes back. Memory: what was written since the look before, at most what the rings hold.
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "core/runtime/trace_ring.hpp"
#include "core/runtime/tracer.hpp"

namespace fiberd::runtime {

struct TraceItem {
  static constexpr std::uint32_t kShared = 0;  ///< the ring of threads without a Processor
  std::int64_t time = 0;                       ///< monotonic ns
  std::uint32_t ring = 0;
  std::uint32_t place = 0;  ///< of the Processor
  TraceKind kind = TraceKind::none;
  std::uint32_t by = 0;     ///< the fiber that ran there, by its index; 0: none
  std::uint32_t fiber = 0;  ///< that the event is about
  std::uint32_t argument = 0;
  std::uint32_t thread = 0;    ///< in the shared ring
  bool behind_gap = false;     ///< events between the one before in this ring and it were lost
  const char* text = nullptr;  ///< a name that lives for ever: of the fiber that is spawned, region, route, category
  const void* site = nullptr;  ///< of a spawn: SourceLocation's word
  std::string_view message{};  ///< of a log; during the visit
};

class TraceReader {
 public:
  enum class From : std::uint8_t { oldest, now };
  /// Within the life of `tracer`.
  TraceReader(const Tracer& tracer, From from);

  using Visit = std::function<void(const TraceItem&)>;
  /// Tells what was written since the last call. Returns how many slots were overwritten before they could be read. Any
  /// thread, one at a time; blocks for as long as it takes to copy (1 ms for some MiB). Throws std::bad_alloc.
  std::uint64_t look(const Visit& visit);
  /// Monotonic ns up to which the last look told everything.
  [[nodiscard]] std::int64_t until() const noexcept { return until_; }

 private:
  struct Slot {
    std::uint64_t first = 0;
    std::uint64_t word = 0;
  };
  struct Gap {  // who runs is not known from the events before
    std::size_t at = 0;
    std::uint32_t fiber = 0;
    std::uint32_t place = 0;
  };
  struct Source {
    const TraceRing* ring = nullptr;
    std::uint64_t next = 0;  // of all the ring's slots, the first that was not copied
    bool begun = false;
    bool whole = true;  // from its oldest event on, not from the start alone
    std::vector<Slot> slots;
    std::vector<Gap> gaps;
    std::size_t at = 0;
    std::size_t gap = 0;
    std::uint32_t current = 0;
    std::uint32_t place = 0;
    std::uint32_t thread = 0;
    bool behind_gap = false;  // what is told next
    std::int64_t last = 0;
  };
  [[nodiscard]] std::uint64_t copy(Source& source);
  [[nodiscard]] bool copy_chunk(Source& source, const TraceChunk& chunk, std::uint64_t number, std::uint64_t& lost);
  void tell(Source& source, std::uint32_t index, const Visit& visit);
  [[nodiscard]] std::int64_t time_of(std::uint64_t ticks) const noexcept;
  [[nodiscard]] static std::size_t slots_of(const Source& source) noexcept;

  const Tracer& tracer_;
  const From from_;
  Tracer::Moment anchor_;
  double ns_per_tick_ = 1;
  std::int64_t start_ = 0;
  std::int64_t until_ = 0;
  std::vector<Source> sources_;
};

/// The longest turn of a fiber on a Processor, as events tell it: from when it began to run until the Processor went on
/// to another, or to none. Where events were lost between, nobody knows how long a turn was: it is not counted.
class TracePauses {
 public:
  void see(const TraceItem& item);
  /// Turns that go on at `now` count for as long as they do. Then it begins anew.
  [[nodiscard]] std::int64_t take_longest(std::int64_t now);

 private:
  struct Turn {
    std::int64_t since = 0;
    bool runs = false;
  };
  std::vector<Turn> turns_;
  std::int64_t longest_ = 0;
};

}  // namespace fiberd::runtime

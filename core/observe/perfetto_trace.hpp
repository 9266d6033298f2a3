#pragma once
// PerfettoTrace: events of the flight recorder as Perfetto's protobuf (TrackEvent), which ui.perfetto.dev opens and
// trace_processor reads.
//
// A track for each Processor: slices say which fiber ran. A track for each fiber: slices say what it waited for, that
// it was runnable, in which request and region it was. Arrows (flows) go from a wake, or a spawn, to the turn that it
// brought about. A counter says how many events were overwritten before they could be read.
//
// What a reader of it may rely on, whatever part of the events is there: slices of a track nest and are closed; time
// never goes back on a track; every track's parent is described before it; a flow ends at most once, behind its begin.
// An end whose begin is in no ring any more is left out.
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/result.hpp"
#include "core/runtime/fiber_origin.hpp"
#include "core/runtime/trace_reader.hpp"

namespace fiberd::observe {

class PerfettoTrace {
 public:
  /// Who the fiber with this index is now, for those that were spawned before the first event. False: nobody.
  using FindFiber = std::function<bool(std::uint32_t index, runtime::FiberOrigin& origin)>;
  explicit PerfettoTrace(FindFiber find);

  /// The beginning of the file: clocks, and the tracks that there always are. `now`: monotonic ns.
  void begin(std::int64_t now);
  void add(const runtime::TraceItem& item);
  void add_lost(std::uint64_t slots, std::int64_t now);
  /// Closes what is open.
  void end(std::int64_t now);
  /// What has been encoded since the last call: the file is these pieces, one behind the other.
  [[nodiscard]] std::string take();

  /// Of so many fibers tracks are made; what others do is seen on their Processors' tracks alone.
  static constexpr std::size_t kMostFibers = 100'000;

 private:
  enum class Open : std::uint8_t { request, region, waiting, runnable, section };
  struct Track {
    std::uint64_t uuid = 0;
    std::int64_t last = INT64_MIN;
  };
  struct FiberTrack : Track {
    std::uint64_t id = 0;
    std::uint64_t name = 0;  // interned
    std::uint64_t flow = 0;  // that ends at its next turn
    bool known = false;
    std::vector<std::pair<Open, const char*>> open;
  };
  struct ProcessorTrack : Track {
    std::uint32_t fiber = 0;  // whose slice is open
    bool sleeps = false;
  };

  FiberTrack& fiber(std::uint32_t index);
  FiberTrack& name_fiber(std::uint32_t index, std::uint64_t id, std::string_view name);
  ProcessorTrack& processor(const runtime::TraceItem& item);
  std::uint64_t name(std::string_view text);
  std::uint64_t key(std::string_view text);
  void describe(std::uint64_t uuid, std::uint64_t parent, std::string_view name, std::int64_t rank = -1);
  void begin_slice(Track& track, std::int64_t time, std::uint64_t name, std::string_view category,
                   std::uint64_t ending_flow = 0, std::uint64_t fiber_id = 0);
  void end_slice(Track& track, std::int64_t time);
  void instant(Track& track, std::int64_t time, std::uint64_t name, std::string_view category, std::uint64_t flow,
               std::string_view key = {}, std::uint64_t number = 0, std::string_view text = {});
  void open(FiberTrack& f, std::int64_t time, Open what, const char* which, std::uint64_t name);
  bool close(FiberTrack& f, std::int64_t time, Open what, const char* which = nullptr);
  void close_waits(FiberTrack& f, std::int64_t time);
  void stop_slice(ProcessorTrack& p, std::int64_t time, std::uint32_t how);
  void leave(ProcessorTrack& p, const runtime::TraceItem& item);
  void fiber_left(std::uint32_t index, std::int64_t time, std::uint32_t how);
  void fiber_runs(std::uint32_t index, std::int64_t time);

  const FindFiber find_;
  std::string out_;
  std::map<std::string, std::uint64_t, std::less<>> names_;
  std::map<std::string, std::uint64_t, std::less<>> keys_;
  std::string new_names_;  // of InternedData, for the next packet
  std::unordered_map<std::uint32_t, FiberTrack> fibers_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, ProcessorTrack> processors_;  // by ring and place
  std::vector<std::uint32_t> rings_;                                              // how many rings had each place
  Track threads_, lost_;
  std::uint64_t lost_slots_ = 0;
  std::uint64_t next_uuid_ = 1'000;
  std::uint64_t next_flow_ = 1;
};

/// Writes a trace, piece by piece: what the rings hold when `length` is 0, else what is recorded for that long from now
/// on, or until `enough` says so (asked some times a second: of a stop, which then has a whole trace until it). Between
/// looks it sleeps, as a fiber on fibers, else as a thread. Errors: the sink's; not_supported without a runtime, or
/// where trace.buffer is 0. Throws std::bad_alloc.
[[nodiscard]] Result<void> write_trace(std::chrono::nanoseconds length,
                                       const std::function<Result<void>(std::string_view piece)>& sink,
                                       const std::function<bool()>& enough = {});

}  // namespace fiberd::observe

#pragma once
// The state of the process as one JSON document: what `fiberd top` and the console show, and what scripts may read.
// docs/status.md says what stands in it.
//
// No second truth: what /metrics has too is taken out of the same families, by their names in the catalogue, so that a
// number which is added there, or changes its meaning, is the same here. Only what has no place among metrics is asked
// elsewhere: the fibers by spawn site, what each Processor does, and the places that made contexts.
//
// Bounded: of routes, listeners, sites and the like the largest kMost… are told, and how many were left out. Bounded in
// time, too: what costs more with each fiber (a look at all of them, the resident pages of their stacks) is done again
// only when twenty times as long has passed as it took the last time, so that readers, however often they ask, cost
// some percent of one core; the document says how old that part is.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "core/base/json_writer.hpp"
#include "core/observe/exporter.hpp"
#include "core/observe/fiber_census.hpp"
#include "core/runtime/mem_stats.hpp"

namespace fiberd::observe {

class StatusReader {
 public:
  /// Of the document: it grows when a field's meaning changes or one goes; fields that are added leave it.
  static constexpr unsigned kSchema = 1;
  static constexpr std::size_t kMostRoutes = 200;
  static constexpr std::size_t kMostListeners = 100;
  static constexpr std::size_t kMostSites = 100;
  static constexpr std::size_t kMostRefusals = 200;
  static constexpr std::size_t kMostPlaces = 50;   ///< that made contexts
  static constexpr std::size_t kMostSamples = 50;  ///< of families that are told as they are: leaks, memory
  static constexpr std::size_t kMostProcessors = 256;

  /// `exporter` must outlive it. `mem_stats` as Runtime::read_mem_stats.
  /// `more` adds fields of the daemon's own at the document's end, on the thread of render(); may be empty.
  StatusReader(const Exporter& exporter, std::function<runtime::MemStats(bool measure)> mem_stats, std::string version,
               std::function<void(JsonWriter&)> more = {});

  /// The document. Not on a Processor: it reads /proc and looks at all fibers. One thread at a time. Throws
  /// std::bad_alloc.
  [[nodiscard]] std::string render();

  static constexpr std::string_view kContentType = "application/json";

 private:
  /// What is not asked for each time.
  struct Turn {
    std::int64_t at = 0;  ///< it was done; 0: never
    std::int64_t took = 0;
    [[nodiscard]] bool due(std::int64_t now) const noexcept;
  };
  void look_at_fibers();
  [[nodiscard]] runtime::MemStats look_at_stacks();

  const Exporter& exporter_;
  const std::function<runtime::MemStats(bool)> mem_stats_;
  const std::string version_;
  const std::function<void(JsonWriter&)> more_;
  Turn counted_;
  FiberCensus census_;
  Turn measured_;
  runtime::MemStats stacks_;  ///< of it the measured bytes alone
};

}  // namespace fiberd::observe

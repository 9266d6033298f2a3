#pragma once
// Tracer: all rings of a scheduler, the one of threads without a Processor, and what makes a trace worth keeping: a
// request that took too long, a stall.
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/lock.hpp"
#include "core/runtime/trace_ring.hpp"

namespace fiberd::runtime {

struct TraceOptions {
  std::size_t buffer = 0;    ///< most bytes of a Processor's ring; 0: none
  std::int64_t min_age = 0;  ///< ns
};

struct TraceStats {
  std::uint64_t events = 0;  ///< slots written, without those of the chunks that are being written
  std::uint64_t lost = 0;    ///< of them, written over before they were min_age old
  std::uint64_t bytes = 0;   ///< of the rings, as far as they have grown
};

class Tracer {
 public:
  explicit Tracer(const TraceOptions& options) noexcept;
  ~Tracer();
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  [[nodiscard]] bool on() const noexcept { return options_.buffer != 0; }
  /// A new Processor's. Nothing without a buffer, or where memory is out.
  void attach(TraceWriter& writer) noexcept;
  /// A stand-in's: what it records goes to the ring of all such threads.
  void forward(TraceWriter& writer) noexcept;
  /// Says at which place the Processor of this writer is from now on, while nobody else has it.
  static void put(TraceWriter& writer, std::uint32_t place) noexcept;

  /// From a thread without a Processor, or a stand-in's scrap.
  void take(const TraceEvent* events, std::size_t n) noexcept;
  void record_outside(std::uint64_t word) noexcept;
  void record_outside(std::uint64_t word, const void* first, const void* second) noexcept;

  /// For readers: the rings that there are now. They live as long as this.
  [[nodiscard]] std::vector<const TraceRing*> rings() const;
  [[nodiscard]] const TraceRing* shared() const noexcept { return shared_.get(); }
  /// Ticks of trace_now() and monotonic ns at one moment: of the beginning, and now.
  struct Moment {
    std::uint64_t ticks = 0;
    std::int64_t ns = 0;
  };
  [[nodiscard]] static Moment moment() noexcept;
  [[nodiscard]] const Moment& began() const noexcept { return began_; }
  [[nodiscard]] TraceStats stats() const noexcept;

 private:
  const TraceOptions options_;
  const Moment began_;
  mutable Lock lock_;  // over the list of rings
  std::vector<std::unique_ptr<TraceRing>> rings_ FIBERD_GUARDED_BY(lock_);
  Lock shared_lock_;  // a few dozen instructions
  TraceWriter shared_writer_ FIBERD_GUARDED_BY(shared_lock_);
  std::unique_ptr<TraceRing> shared_;
};

}  // namespace fiberd::runtime

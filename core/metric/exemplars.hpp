#pragma once
// Exemplars: of each bucket of a histogram the newest observation that a trace was kept of, so that who looks at a slow
// bucket finds a request that was in it.
//
// A slot for each bucket, made with the first exemplar: a histogram without traces has none. Who writes and who reads
// takes the slot by one exchange and is never waited for: a writer who finds it taken leaves his out (there will be
// others), a reader tries a few times. So nobody who serves stands behind anybody else.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace fiberd::metric {

/// Ids as W3C Trace Context has them (section 3.2.2).
struct Exemplar {
  std::array<std::uint8_t, 16> trace_id{};
  std::array<std::uint8_t, 8> span_id{};  ///< all zero: none is told
  friend bool operator==(const Exemplar&, const Exemplar&) noexcept = default;
};

struct KeptExemplar {
  Exemplar exemplar;
  std::uint64_t value = 0;   ///< that was observed, in the unit of the bounds
  std::int64_t time_ns = 0;  ///< since 1970
};

/// Thread-safe; never parks.
class Exemplars {
 public:
  /// Throws std::bad_alloc.
  explicit Exemplars(std::size_t buckets) : size_(buckets), slots_(std::make_unique<Slot[]>(buckets)) {}

  void keep(std::size_t bucket, const KeptExemplar& kept) noexcept;
  /// Nothing where there was none, and where writers are at it all the time.
  [[nodiscard]] std::optional<KeptExemplar> read(std::size_t bucket) const noexcept;
  [[nodiscard]] std::size_t buckets() const noexcept { return size_; }

 private:
  struct Slot {
    std::atomic<bool> taken{false};
    bool filled = false;
    KeptExemplar kept;
  };
  std::size_t size_;
  std::unique_ptr<Slot[]> slots_;
};

}  // namespace fiberd::metric

#pragma once
// StatusCounters: what one route of one listener counts for each answer: its status code, its duration, its bytes both
// ways, and how many requests are on their way to one.
//
// The hot path is: index by code, add. A counter is made on its code's first answer (through the registry, which locks
// once per route and code) and published by CAS; from then on no lock is taken. Making all of them up front would
// export some sixty zero series a route. The series are leased: they disappear some time after the last StatusCounters
// of a listener and route, and two of them count on the same cells.
#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/lock.hpp"
#include "core/metric/registry.hpp"

namespace fiberd::metric {

/// `requests` has the labels (listener, route, code), the others (listener, route).
struct StatusFamilies {
  Family& requests;   ///< counter
  Family& durations;  ///< histogram
  Family& received;   ///< counter of bytes
  Family& sent;       ///< counter of bytes
  Family& in_flight;  ///< gauge
};

class StatusCounters {
 public:
  /// Throws as Registry does.
  StatusCounters(Registry& registry, const StatusFamilies& families, std::string_view listener, std::string_view route);
  StatusCounters(const StatusCounters&) = delete;
  StatusCounters& operator=(const StatusCounters&) = delete;

  /// A request has come. One record() follows. Thread-safe; never parks.
  void begin() noexcept { in_flight_->add(registry_.here()); }
  /// Counts one answer. Codes outside IANA's HTTP status registry (RFC 9110, section 16.2) count as "other".
  /// Thread-safe; never parks. When a counter's first use finds no memory, fiberd_bugs_total counts the loss.
  void record(unsigned code, std::uint64_t duration_ns, std::uint64_t received, std::uint64_t sent) noexcept {
    const std::size_t slot = slot_of(code);
    Counter* counter = counters_[slot].load(std::memory_order_acquire);
    if (counter == nullptr) [[unlikely]]
      counter = make(slot);
    const Cells::Here here = registry_.here();
    if (counter != nullptr) counter->add(here);
    durations_->observe(here, duration_ns);
    received_->add(here, received);
    sent_->add(here, sent);
    in_flight_->sub(here);
  }

  static constexpr std::array<std::uint16_t, 63> kCodes{
      100, 101, 102, 103, 104, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305,
      307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421,
      422, 423, 424, 425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511};

 private:
  static constexpr std::size_t kOther = kCodes.size();
  static constexpr unsigned kLow = 100;
  static constexpr unsigned kHigh = 600;
  static constexpr std::array<std::uint8_t, kHigh - kLow> kSlots = [] {
    std::array<std::uint8_t, kHigh - kLow> slots{};
    slots.fill(static_cast<std::uint8_t>(kOther));
    for (std::size_t i = 0; i < kCodes.size(); ++i) slots[kCodes[i] - kLow] = static_cast<std::uint8_t>(i);
    return slots;
  }();
  [[nodiscard]] static std::size_t slot_of(unsigned code) noexcept {
    return code >= kLow && code < kHigh ? kSlots[code - kLow] : kOther;
  }
  Counter* make(std::size_t slot) noexcept;

  Registry& registry_;
  Family& requests_;
  Lease<Histogram> durations_;
  Lease<Counter> received_;
  Lease<Counter> sent_;
  Lease<Gauge> in_flight_;
  std::string listener_;
  std::string route_;
  std::array<std::atomic<Counter*>, kCodes.size() + 1> counters_{};
  Lock lock_;
  std::vector<Lease<Counter>> leases_ FIBERD_GUARDED_BY(lock_);  // of counters_
};

}  // namespace fiberd::metric

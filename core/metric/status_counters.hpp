#pragma once
// StatusCounters: what one route of one listener counts for each answer: its method, status code and duration, its
// bytes both ways, and how many requests are on their way to one.
//
// The hot path is: index by method and code, add. A histogram is made on the first answer of its method and code
// (through the registry, which locks once for each) and published by CAS; from then on no lock is taken. Making all of
// them up front would export some six hundred histograms of zeros a route. How many answers there were is how many
// durations there were (FamilySpec::counts_of): counted once, and never at odds. The series are leased: they disappear
// some time after the last StatusCounters of a listener and route, and two of them count on the same cells.
//
// Methods are bounded by the caller's list: whatever else clients send is its first entry's.
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/lock.hpp"
#include "core/metric/registry.hpp"

namespace fiberd::metric {

/// `durations` has the labels (listener, route, method, code), the others (listener, route).
struct StatusFamilies {
  Family& durations;  ///< histogram
  Family& received;   ///< counter of bytes
  Family& sent;       ///< counter of bytes
  Family& in_flight;  ///< gauge
};

/// One answer.
struct StatusRecord {
  std::size_t method;  ///< index into the methods; one beyond them is 0
  unsigned code;       ///< outside IANA's HTTP status registry (RFC 9110, section 16.2): counts as "other"
  std::uint64_t duration_ns;
  std::uint64_t received;              ///< bytes
  std::uint64_t sent;                  ///< bytes
  const Exemplar* exemplar = nullptr;  ///< of the request, if a trace of it is kept
};

class StatusCounters {
 public:
  static constexpr std::size_t kMostMethods = 16;
  /// `methods`: values of the label, the first for all that have none of their own; static storage; at most
  /// kMostMethods. Throws as Registry does.
  StatusCounters(Registry& registry, const StatusFamilies& families, std::string_view listener, std::string_view route,
                 std::span<const std::string_view> methods);
  ~StatusCounters();
  StatusCounters(const StatusCounters&) = delete;
  StatusCounters& operator=(const StatusCounters&) = delete;

  /// A request has come. One record() follows. Thread-safe; never parks.
  void begin() noexcept { in_flight_->add(registry_.here()); }
  /// Counts one answer. Thread-safe; never parks. When a histogram's first use finds no memory, fiberd_bugs_total
  /// counts the loss.
  void record(const StatusRecord& r) noexcept {
    const std::size_t slot = slot_of(r.code);
    const std::size_t method = r.method < kMostMethods ? r.method : 0;
    const ByCode* const codes = methods_[method].load(std::memory_order_acquire);
    Histogram* durations = codes != nullptr ? (*codes)[slot].load(std::memory_order_acquire) : nullptr;
    if (durations == nullptr) [[unlikely]]
      durations = make(method, slot);
    const Cells::Here here = registry_.here();
    if (durations != nullptr) [[likely]]
      durations->observe(here, r.duration_ns, r.exemplar);
    received_->add(here, r.received);
    sent_->add(here, r.sent);
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
  using ByCode = std::array<std::atomic<Histogram*>, kCodes.size() + 1>;
  Histogram* make(std::size_t method, std::size_t slot) noexcept;

  Registry& registry_;
  Family& durations_;
  Lease<Counter> received_;
  Lease<Counter> sent_;
  Lease<Gauge> in_flight_;
  std::span<const std::string_view> names_;
  std::string listener_;
  std::string route_;
  std::array<std::atomic<ByCode*>, kMostMethods> methods_{};  // owned: made with a method's first answer
  Lock lock_;
  std::vector<Lease<Histogram>> leases_ FIBERD_GUARDED_BY(lock_);  // of methods_
};

}  // namespace fiberd::metric

#pragma once
// The clock seam. All time in the runtime is monotonic nanoseconds from here; the simulation replaces the source.
#include <atomic>
#include <chrono>
#include <cstdint>

namespace fiberd {

/// Monotonic time in nanoseconds. Thread-safe; never parks. Under a Simulation: virtual time.
[[nodiscard]] std::int64_t monotonic_now() noexcept;

/// Wall clock, for logs and HTTP dates only.
[[nodiscard]] std::chrono::system_clock::time_point wall_now() noexcept;

/// The time `d` after `ns`; what lies outside of what can be told is the end of it. Every sum of a time and a duration
/// that somebody else has chosen is made by this, or by Deadline::in and after: "as long as there is" is a duration
/// too.
[[nodiscard]] constexpr std::int64_t time_after(std::int64_t ns, std::chrono::nanoseconds d) noexcept {
  std::int64_t sum = 0;
  if (!__builtin_add_overflow(ns, d.count(), &sum)) [[likely]]
    return sum;
  return d.count() < 0 ? INT64_MIN : INT64_MAX;
}

/// A point in monotonic time by which a wait must end. `never()` waits without limit.
class Deadline {
 public:
  constexpr Deadline() noexcept = default;
  [[nodiscard]] static constexpr Deadline never() noexcept { return Deadline(); }
  [[nodiscard]] static constexpr Deadline at(std::int64_t monotonic_ns) noexcept { return Deadline(monotonic_ns); }
  /// `d` from now; saturates to never(), and a negative `d` is already past.
  [[nodiscard]] static Deadline in(std::chrono::nanoseconds d) noexcept { return after(monotonic_now(), d); }
  /// The same from `monotonic_ns`. Not before the clock's beginning: a difference to it can be told.
  [[nodiscard]] static constexpr Deadline after(std::int64_t monotonic_ns, std::chrono::nanoseconds d) noexcept {
    const std::int64_t ns = time_after(monotonic_ns, d);
    return Deadline(ns < 0 ? 0 : ns);
  }
  [[nodiscard]] constexpr std::int64_t ns() const noexcept { return ns_; }
  [[nodiscard]] constexpr bool is_never() const noexcept { return ns_ == kNever; }
  [[nodiscard]] constexpr Deadline earlier(Deadline o) const noexcept { return ns_ < o.ns_ ? *this : o; }
  friend constexpr bool operator==(Deadline, Deadline) noexcept = default;

 private:
  static constexpr std::int64_t kNever = INT64_MAX;
  explicit constexpr Deadline(std::int64_t ns) noexcept : ns_(ns) {}
  std::int64_t ns_ = kNever;
};

/// Replaces monotonic_now() for this process; nullptr restores the kernel's clock. Used by the simulation only.
using ClockSource = std::int64_t (*)() noexcept;
void set_clock_source(ClockSource source) noexcept;

}  // namespace fiberd

#pragma once
// Names of traces and spans, as W3C Trace Context and OTLP have them: 128 and 64 bits, random, never all zero.
//
// They come from the Processor's generator (runtime::random), which the kernel has seeded: some instructions, no system
// call, no lock. They are no secrets: who has seen some can tell those to come, and nothing may rest on that he cannot.
#include <array>
#include <cstdint>
#include <string_view>

namespace fiberd::trace {

struct TraceId {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  [[nodiscard]] constexpr bool valid() const noexcept { return (high | low) != 0; }
  friend constexpr bool operator==(TraceId, TraceId) noexcept = default;
};

struct SpanId {
  std::uint64_t value = 0;
  [[nodiscard]] constexpr bool valid() const noexcept { return value != 0; }
  friend constexpr bool operator==(SpanId, SpanId) noexcept = default;
};

/// Which span of which trace. All zero: none.
struct SpanContext {
  TraceId trace_id{};
  SpanId span_id{};
  /// It goes to the collector, as far as that is known yet (tracer.hpp).
  bool sampled = false;
  [[nodiscard]] constexpr bool valid() const noexcept { return trace_id.valid() && span_id.valid(); }
  friend constexpr bool operator==(const SpanContext&, const SpanContext&) noexcept = default;
};

/// Hexadecimal digits in lower case.
[[nodiscard]] std::array<char, 32> text_of(TraceId id) noexcept;
[[nodiscard]] std::array<char, 16> text_of(SpanId id) noexcept;
/// The text of one, or nothing where there is no id: for logs and templates. The view is of this object.
class IdText {
 public:
  explicit IdText(TraceId id) noexcept;
  explicit IdText(SpanId id) noexcept;
  [[nodiscard]] std::string_view text() const noexcept { return {text_.data(), size_}; }

 private:
  std::array<char, 32> text_{};
  std::size_t size_ = 0;
};

[[nodiscard]] TraceId make_trace_id() noexcept;
[[nodiscard]] SpanId make_span_id() noexcept;

}  // namespace fiberd::trace

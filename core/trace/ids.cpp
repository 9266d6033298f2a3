#include "core/trace/ids.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "core/base/characters.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::trace {

/// Both digits of each byte.
static constexpr auto kPairs = [] {
  std::array<std::array<char, 2>, 256> pairs{};
  for (std::size_t i = 0; i != pairs.size(); ++i) pairs[i] = {ascii::kHexDigits[i >> 4U], ascii::kHexDigits[i & 15U]};
  return pairs;
}();

static void write(char* out, std::uint64_t value) noexcept {
  for (std::size_t i = 8; i != 0; value >>= 8U) std::memcpy(out + 2 * --i, kPairs[value & 255U].data(), 2);
}

std::array<char, 32> text_of(TraceId id) noexcept {
  std::array<char, 32> text;
  write(text.data(), id.high);
  write(text.data() + 16, id.low);
  return text;
}

std::array<char, 16> text_of(SpanId id) noexcept {
  std::array<char, 16> text;
  write(text.data(), id.value);
  return text;
}

IdText::IdText(TraceId id) noexcept {
  if (!id.valid()) return;
  text_ = text_of(id);
  size_ = text_.size();
}

IdText::IdText(SpanId id) noexcept {
  if (!id.valid()) return;
  const std::array<char, 16> text = text_of(id);
  std::copy(text.begin(), text.end(), text_.begin());
  size_ = text.size();
}

TraceId make_trace_id() noexcept {
  const TraceId id{runtime::random(), runtime::random()};
  return id.valid() ? id : TraceId{0, 1};
}

SpanId make_span_id() noexcept { return {std::max<std::uint64_t>(runtime::random(), 1)}; }

}  // namespace fiberd::trace

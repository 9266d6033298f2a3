#include "core/http/websocket/message_ends.hpp"

#include <algorithm>

namespace fiberd::http {

// RFC 6455 section 5.2.
static constexpr std::byte kFin{0x80};
static constexpr std::byte kRsv1{0x40};
static constexpr std::byte kOpcode{0x0f};
static constexpr std::byte kControl{0x08};
static constexpr std::byte kMasked{0x80};
static constexpr std::uint8_t kMaskSize = 4;

void MessageEnds::take_head(std::byte& b) noexcept {
  if (at_ == 0) {
    last_ = false;
    if ((b & kControl) == std::byte{0}) {
      if ((b & kOpcode) != std::byte{0}) compressed_ = (b & kRsv1) != std::byte{0};  // not a continuation
      last_ = compressed_ && (b & kFin) != std::byte{0};
      if (last_) b &= ~kFin;
    }
  } else if (at_ == 1) {
    const auto code = std::to_integer<std::uint8_t>(b & ~kMasked);
    length_size_ = code == 127 ? 8 : code == 126 ? 2 : 0;
    length_ = length_size_ == 0 ? code : 0;
    head_size_ = static_cast<std::uint8_t>(2 + length_size_ + ((b & kMasked) != std::byte{0} ? kMaskSize : 0));
  } else if (at_ < 2 + length_size_) {
    length_ = length_ << 8U | std::to_integer<std::uint64_t>(b);
  }
  ++at_;
}

std::size_t MessageEnds::pass(std::span<std::byte> data) noexcept {
  std::size_t at = 0;
  while (at < data.size() && !owed_) {
    if (payload_ != 0) {
      const std::uint64_t n = std::min<std::uint64_t>(payload_, data.size() - at);
      at += static_cast<std::size_t>(n);
      payload_ -= n;
      owed_ = payload_ == 0 && last_;
      continue;
    }
    take_head(data[at++]);
    if (at_ < 2 || at_ < head_size_) continue;
    at_ = 0;
    payload_ = length_;
    owed_ = payload_ == 0 && last_;
  }
  return at;
}

}  // namespace fiberd::http

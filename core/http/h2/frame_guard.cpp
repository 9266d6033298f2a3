#include "core/http/h2/frame_guard.hpp"

#include <algorithm>

namespace fiberd::http::h2 {

// Types and flags of RFC 9113 section 6.
static constexpr std::uint8_t kHeaders = 1;
static constexpr std::uint8_t kPriority = 2;
static constexpr std::uint8_t kRstStream = 3;
static constexpr std::uint8_t kSettings = 4;
static constexpr std::uint8_t kPing = 6;
static constexpr std::uint8_t kContinuation = 9;
static constexpr std::uint8_t kEndStream = 1;  // and ACK
static constexpr std::uint8_t kEndHeaders = 4;
static constexpr std::uint8_t kPadded = 8;
static constexpr std::uint32_t kNoData = 4;

/// Of the frame whose head has come.
std::uint32_t FrameGuard::points() noexcept {
  const std::uint8_t flags = head_[4];
  switch (type_) {
    case kData:
      if ((flags & kEndStream) != 0) return 0;
      padded_ = (flags & kPadded) != 0;
      return left_ == 0 ? kNoData : 0;
    case kHeaders:
      block_ = (flags & kEndHeaders) == 0;
      block_bytes_ = left_;
      forgive(kRequest);
      return 0;
    case kContinuation:
      block_ = (flags & kEndHeaders) == 0;
      block_bytes_ += left_;
      return left_ == 0 ? 20 : 5;
    case kRstStream: return 3;
    case kSettings: return (flags & kEndStream) != 0 ? 1 : 8;
    case kPing: return (flags & kEndStream) != 0 ? 1 : 4;
    default: return 1;
  }
}

void FrameGuard::forgive_by_time(std::int64_t now) noexcept {
  static constexpr std::int64_t kTenSeconds = 10'000'000'000;
  if (score_ == 0 || forgiven_at_ == 0 || now < forgiven_at_) {
    forgiven_at_ = now;
    return;
  }
  const std::int64_t passed = std::min(now - forgiven_at_, kTenSeconds);
  const auto points = static_cast<std::uint32_t>(passed / 1000 * limit_ / (kTenSeconds / 1000));
  if (points == 0) return;  // what has passed counts on
  forgive(points);
  forgiven_at_ = now;
}

/// RFC 9113 sections 4.2, 6.1 to 6.3.
Code FrameGuard::check_head() const noexcept {
  static constexpr std::uint32_t kMostPayload = 16'384;  // as SETTINGS_MAX_FRAME_SIZE is, which we leave
  if (left_ > kMostPayload) return Code::frame_size_error;
  const bool padded = (type_ == kData || type_ == kHeaders) && (head_[4] & kPadded) != 0;
  if (padded && left_ == 0) return Code::frame_size_error;
  const bool of_connection = (head_[5] & 0x7fU) == 0 && head_[6] == 0 && head_[7] == 0 && head_[8] == 0;
  return type_ == kPriority && of_connection ? Code::protocol_error : Code::no_error;
}

Code FrameGuard::walk(std::string_view bytes, std::int64_t now) noexcept {
  forgive_by_time(now);
  if (preface_ != 0) {
    const std::size_t n = std::min<std::size_t>(preface_, bytes.size());
    preface_ -= static_cast<std::uint32_t>(n);
    bytes.remove_prefix(n);
  }
  while (!bytes.empty()) {
    if (left_ != 0) {
      if (padded_) {
        padded_ = false;
        const bool nothing_else = static_cast<std::uint8_t>(bytes.front()) + 1U >= left_;
        if (nothing_else && !charge(kNoData)) return Code::enhance_your_calm;
      }
      const std::size_t n = std::min<std::size_t>(left_, bytes.size());
      left_ -= static_cast<std::uint32_t>(n);
      bytes.remove_prefix(n);
      continue;
    }
    if (at_ == 0 && !block_) ++begun_;
    head_[at_++] = static_cast<std::uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    if (at_ != kHead) continue;
    at_ = 0;
    left_ = static_cast<std::uint32_t>(head_[0] << 16U | head_[1] << 8U | head_[2]);
    type_ = head_[3];
    if (const Code wrong = check_head(); wrong != Code::no_error) return wrong;
    if (!charge(points())) return Code::enhance_your_calm;
  }
  return Code::no_error;
}

}  // namespace fiberd::http::h2

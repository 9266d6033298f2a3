#include "core/tls/hello_watch.hpp"

#include <algorithm>
#include <cstring>

namespace fiberd::tls {

bool HelloWatch::see(std::string_view bytes, bool may_be_hello) noexcept {
  static constexpr std::size_t kRecordHead = 5;
  static constexpr unsigned kHandshake = 22;
  static constexpr unsigned kClientHello = 1;
  if (first_ == 0 && !bytes.empty()) first_ = static_cast<unsigned char>(bytes.front());
  while (!bytes.empty()) {
    if (record_left_ != 0) {
      const std::size_t n = std::min<std::size_t>(bytes.size(), record_left_);
      record_left_ -= static_cast<std::uint32_t>(n);
      bytes.remove_prefix(n);
      continue;
    }
    const bool hello = size_ >= kRecordHead;  // of which the message's head is looked at, too
    const std::size_t n = std::min<std::size_t>(bytes.size(), (hello ? head_.size() : kRecordHead) - size_);
    std::memcpy(head_.data() + size_, bytes.data(), n);
    size_ = static_cast<std::uint8_t>(size_ + n);
    bytes.remove_prefix(n);
    const std::uint32_t record = head_[3] * 256U + head_[4];
    if (size_ == kRecordHead) {
      if (head_[0] == kHandshake && may_be_hello && message_left_ == 0) {
        // In a record that ends within the message's head that could not be seen.
        if (record < head_.size() - kRecordHead) return false;
        continue;
      }
      if (head_[0] == kHandshake) message_left_ -= std::min(message_left_, record);
      record_left_ = record;
      size_ = 0;
    } else if (size_ == head_.size()) {
      const std::uint32_t message = head_[7] * 256U + head_[8];
      if (head_[5] == kClientHello && (head_[6] != 0 || message > kMost)) return false;
      record_left_ = record - 4;
      if (head_[5] == kClientHello) message_left_ = message - std::min(message, record_left_);
      size_ = 0;
    }
  }
  return true;
}

}  // namespace fiberd::tls

#pragma once
// What is counted of the WebSockets of one listener; each may be null (not counted).
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/http/websocket/handshake.hpp"
#include "core/metric/late_counter.hpp"
#include "core/metric/metrics.hpp"

namespace fiberd::http {

/// Codes that are told apart; all others are "other", which is the last.
inline constexpr std::array<std::uint16_t, 11> kCloseCodes{1000, 1001, 1002, 1003, 1005, 1006,
                                                           1007, 1008, 1009, 1010, 1011};

struct WebSocketMetrics {
  std::shared_ptr<const void> keeps{};  ///< what the pointers point to
  metric::Gauge* open = nullptr;
  metric::Counter* opened = nullptr;
  metric::Counter* received_messages = nullptr;
  metric::Counter* sent_messages = nullptr;
  metric::Counter* received_bytes = nullptr;  ///< of messages, unpacked
  metric::Counter* sent_bytes = nullptr;
  std::array<metric::LateCounter*, kCloseCodes.size() + 1> closed{};
  std::array<metric::LateCounter*, static_cast<std::size_t>(WebSocketRules::Verdict::count_)> refused{};
};

/// The index of a code in `closed`.
[[nodiscard]] constexpr std::size_t close_index(std::uint16_t code) noexcept {
  std::size_t i = 0;
  while (i < kCloseCodes.size() && kCloseCodes[i] != code) ++i;
  return i;
}

}  // namespace fiberd::http

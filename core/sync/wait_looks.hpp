#pragma once
// What a channel tells of itself to those who look at a fiber that waits at it: for dumps and leak reports.
#include <string>

#include "core/runtime/wait_edges.hpp"
#include "core/sync/channel_core.hpp"

namespace fiberd::sync::detail {

struct ChannelLook {
  /// "a channel, 4 of 4 values": takes its lock.
  [[nodiscard]] static std::string describe(const ChannelCore& channel);
  static void tell(const ChannelCore& channel, runtime::WaitEdges& edges);
};

}  // namespace fiberd::sync::detail

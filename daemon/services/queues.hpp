#pragma once
// Queues: the connections of a server as what the kernel holds for them: what was sent to us and not read, what was
// written and not taken. Where memory is out, those that hold the most are cut.
#include <cstddef>
#include <cstdint>

#include "core/net/queue_sizes.hpp"

namespace fiberd::daemon {

/// Thread-safe; never parks. Costs two system calls for each connection that is being served.
class Queues {
 public:
  Queues() = default;
  virtual ~Queues() = default;
  Queues(const Queues&) = delete;
  Queues& operator=(const Queues&) = delete;
  virtual void measure(net::QueueSizes& sizes) noexcept = 0;
  /// Cuts those that hold `least` bytes or more, until `wanted` are freed, and takes these off `wanted`. Returns how
  /// many it cut. Idle connections are left.
  virtual std::size_t cut(std::size_t least, std::uint64_t& wanted) noexcept = 0;
};

}  // namespace fiberd::daemon

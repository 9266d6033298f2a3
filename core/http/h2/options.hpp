#pragma once
// What a listener says about HTTP/2, and what it counts of it.
#include <array>
#include <cstddef>
#include <cstdint>

#include "core/http/h2/code.hpp"
#include "core/metric/late_counter.hpp"
#include "core/metric/metrics.hpp"

namespace fiberd::http::h2 {

struct Options {
  /// Over connections that are not TLS: a client that begins with HTTP/2's preface is served by it (RFC 9113 section
  /// 3.3). False: it is refused as the bad request that it is in HTTP/1.
  bool prior_knowledge = false;
  /// Over such connections: a request of HTTP/1.1 that asks for it by `Upgrade: h2c` (RFC 7540 section 3.2, which RFC
  /// 9113 has withdrawn) and has no body is answered 101, and then on stream 1.
  bool by_upgrade = false;
  std::uint32_t max_streams = 100;                ///< requests of a connection at once, 1 … 1,000
  std::uint32_t stream_window = 256 * 1024;       ///< bytes of a body that may wait to be read, 65,535 … 16 MiB
  std::uint32_t connection_window = 1024 * 1024;  ///< the same of all bodies of a connection
  std::uint32_t glitches = 1000;                  ///< FrameGuard's points, 100 … 1,000,000
  friend bool operator==(const Options&, const Options&) noexcept = default;
};

/// Each may be null (not counted).
struct Metrics {
  metric::Counter* connections = nullptr;
  metric::Counter* requests = nullptr;
  std::array<metric::LateCounter*, kCodes> resets_received{};
  std::array<metric::LateCounter*, kCodes> resets_sent{};
  std::array<metric::LateCounter*, kCodes> goaways_sent{};
};

}  // namespace fiberd::http::h2

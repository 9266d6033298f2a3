#pragma once
// KeepAlive: how the kernel finds out that a peer has vanished: one that is silent is asked, and one that does not
// answer is taken for gone, which every wait on the connection is then told as an error (timed_out).
//
// A listening socket's settings are inherited by what it accepts (Linux), so they cost no system call a connection.
#include <chrono>

namespace fiberd::net {

/// The defaults find a vanished peer after two minutes.
struct KeepAlive {
  std::chrono::seconds idle{60};      ///< of silence before the first probe, 1 … 32767; 0: no probes
  std::chrono::seconds interval{15};  ///< between probes, 1 … 32767
  int count = 4;                      ///< probes without an answer until the peer is gone, 1 … 127
};

/// On a TCP socket, connected or listening. 0, or -errno.
[[nodiscard]] int set_keep_alive(int fd, const KeepAlive& keep_alive) noexcept;

}  // namespace fiberd::net

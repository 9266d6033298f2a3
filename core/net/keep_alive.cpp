#include "core/net/keep_alive.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include "core/net/system_calls.hpp"

namespace fiberd::net {

int set_keep_alive(int fd, const KeepAlive& k) noexcept {
  if (k.idle.count() == 0) return 0;
  int r = sys::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  if (r == 0) r = sys::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, static_cast<int>(k.idle.count()));
  if (r == 0) r = sys::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, static_cast<int>(k.interval.count()));
  if (r == 0) r = sys::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, k.count);
  return r;
}

}  // namespace fiberd::net

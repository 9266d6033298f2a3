#include "core/http/h1/tunnel.hpp"

#include <algorithm>
#include <cstring>

#include "core/base/bug.hpp"

namespace fiberd::http {

std::size_t H1Stream::Tunnel::take(std::span<std::byte> data) noexcept {
  const std::size_t n = std::min(data.size(), ahead_.size());
  if (n != 0) std::memcpy(data.data(), ahead_.data(), n);
  ahead_.remove_prefix(n);
  return n;
}

bool H1Stream::Tunnel::go_idle(const runtime::IdleHandler& /*handler*/, void* /*argument*/,
                               Deadline /*deadline*/) noexcept {
  report_bug("an upgraded connection was sent idle");
  return false;
}

// The connection's own watch, for its client's context, may be there already.
Result<void> H1Stream::Tunnel::watch_hang_up(runtime::HangUpWatch& /*watch*/) noexcept {
  return fail(std::errc::operation_not_supported);
}
void H1Stream::Tunnel::unwatch_hang_up(runtime::HangUpWatch& /*watch*/) noexcept {}

}  // namespace fiberd::http

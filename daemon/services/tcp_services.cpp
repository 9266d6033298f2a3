#include "daemon/services/tcp_services.hpp"

#include <algorithm>
#include <memory>
#include <new>
#include <span>

#include "core/base/clock.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::daemon {

// On the stack, so that an idle connection's page of stack is all it holds; read in one call, sent in one.
static constexpr std::size_t kSmall = 1024;
// For streams that fill the small buffer.
static constexpr std::size_t kLarge = 64 * 1024;

static Deadline idle_deadline(std::chrono::nanoseconds timeout) noexcept {
  return timeout.count() == 0 ? Deadline::never() : Deadline::after(runtime::coarse_now(), timeout);
}

template <class Consume>
static void pump(net::TcpStream& stream, std::chrono::nanoseconds idle_timeout, flow::Pressure* pressure,
                 Consume consume) noexcept {
  std::byte small[kSmall];
  std::unique_ptr<std::byte[]> large;
  std::size_t used = kSmall;  // of it; what was never written to is not charged yet
  std::span<std::byte> buffer(small);
  for (;;) {
    const Result<std::size_t> n = stream.read_some(buffer, idle_deadline(idle_timeout));
    if (!n || *n == 0 || !consume(buffer.first(*n))) return;
    if (*n < kSmall) {
      large.reset();
      used = kSmall;
      buffer = small;
      continue;
    }
    used = std::max(used, *n);
    // Asked when more is there: what is said before a wait says nothing.
    const bool more = !stream.drained() && (pressure == nullptr || pressure->may_grow(kLarge));
    if (more && large == nullptr) large.reset(new (std::nothrow) std::byte[kLarge]);
    if (large != nullptr) buffer = {large.get(), more ? kLarge : used};
  }
}

void serve_tcp_echo(net::TcpStream& stream, std::chrono::nanoseconds idle_timeout, flow::Pressure* pressure) noexcept {
  pump(stream, idle_timeout, pressure, [&](std::span<const std::byte> data) {
    return stream.write_all(data, idle_deadline(idle_timeout)).has_value();
  });
}

void serve_tcp_discard(net::TcpStream& stream, std::chrono::nanoseconds idle_timeout,
                       flow::Pressure* pressure) noexcept {
  pump(stream, idle_timeout, pressure, [](std::span<const std::byte>) { return true; });
}

}  // namespace fiberd::daemon

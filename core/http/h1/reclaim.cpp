// Longest-idle first without a list in that order: keeping one would cost a lock for every request, to be ready for
// what seldom happens. Instead each connection notes when it began to wait, and the few moments that need the order
// look at all of them: once to find the time before which they must have begun to be among the wanted, once to close.
// Between the looks connections come, go and become active; so the number is about right, and each one is taken by
// winning it (Connection::claim_waiting), never by having been seen.
#include "core/http/h1/reclaim.hpp"

#include <algorithm>
#include <cstdint>
#include <new>
#include <optional>
#include <vector>

#include "core/http/h1/connection.hpp"
#include "core/http/server.hpp"

namespace fiberd::http {

/// Before when the `wanted` longest-waiting began to wait; nothing when none waits.
static std::optional<std::int64_t> longest(std::span<Server* const> servers, Waiting what,
                                           std::size_t wanted) noexcept {
  try {
    std::vector<std::int64_t> since;
    for (Server* const s : servers) s->waiting_since(what, since);
    if (since.empty()) return std::nullopt;
    const auto last = since.begin() + static_cast<std::ptrdiff_t>(std::min(wanted, since.size()) - 1);
    std::nth_element(since.begin(), last, since.end());
    return *last;
  } catch (const std::bad_alloc&) {
    return INT64_MAX;  // without memory for the order: any of them, for memory is what is needed
  }
}

std::size_t reclaim(std::span<Server* const> servers, std::size_t wanted) noexcept {
  // Those seen may be gone when they are to be closed: another Processor may be reclaiming, too, and the two saw the
  // same. There are others then; "none" would have a client refused for nothing.
  static constexpr int kLooks = 8;
  if (wanted == 0) return 0;
  for (const Waiting what : {Waiting::for_end, Waiting::for_request, Waiting::for_head}) {
    for (int look = 0; look < kLooks; ++look) {
      const std::optional<std::int64_t> until = longest(servers, what, wanted);
      if (!until) break;
      std::size_t closed = 0;
      for (Server* const s : servers) closed += s->close_waiting(what, *until, wanted - closed);
      if (closed != 0) return closed;
    }
  }
  return 0;
}

}  // namespace fiberd::http

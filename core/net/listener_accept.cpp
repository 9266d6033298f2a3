// Accepting happens inside the scheduler, before any fiber exists: the socket is in every Poller with EPOLLEXCLUSIVE,
// so the kernel wakes one Processor per arrival, and the callback accepts right there. A fiber that accepted would cost
// a switch per connection and would be the one place through which all connections must pass.
//
// The socket is level-triggered and accepts in bursts that adapt: one accept per event while connections come singly
// (a second call that answers EAGAIN would be a fifth of the cost of a short connection), doubling to 32 while each
// burst is used up. A single arrival uses up a burst of one, too, so going from one to two waits for a number of such
// events that grows each time the second call was in vain. No more than 32, for each brings a fiber that runs before
// events are looked for again: a thousand clients who come at once shall not keep everybody else waiting.
//
// Before anybody is refused, for want of a place or of descriptors, the owner is asked to close connections that nobody
// will miss (MakeRoom). It is made in batches, since finding the longest-idle means a look at all; where none could be
// closed nobody asks again for a while. What is left to do without descriptors: descriptor_reserve.hpp.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/base/probe.hpp"
#include "core/net/listener.hpp"
#include "core/net/listener_socket.hpp"
#include "core/net/system_calls.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::net {

static constexpr std::uint32_t kMaxBurst = 32;
static constexpr std::uint32_t kMaxPatience = 64;
static constexpr std::int64_t kRoomPause = 50'000'000;
static constexpr std::size_t kRoomShare = 16;  // of the connections, closed at a time

void Listener::on_readable(void* argument) noexcept {
  auto& socket = *static_cast<Socket*>(argument);
  socket.listener.accept_burst(socket);
}

void Listener::accept_burst(Socket& socket) noexcept {
  static constexpr auto kRelaxed = std::memory_order_relaxed;  // a lost update costs one call at most
  const auto serving = serving_.read();
  const std::uint32_t burst = socket.burst.load(kRelaxed);
  for (std::uint32_t i = 0; i < burst; ++i) {
    if (accept_one(socket, **serving)) continue;
    if (burst > 1 && i <= 1) {
      const std::uint32_t patience = std::min(socket.patience.load(kRelaxed) * 2, kMaxPatience);
      socket.patience.store(patience, kRelaxed);
      socket.singles.store(patience, kRelaxed);
    }
    socket.burst.store(std::max(i, 1U), kRelaxed);
    return;
  }
  if (burst == 1) {
    const std::uint32_t singles = socket.singles.load(kRelaxed);
    if (singles > 1) {
      socket.singles.store(singles - 1, kRelaxed);
      return;
    }
  } else {
    socket.patience.store(kFirstPatience, kRelaxed);
  }
  socket.burst.store(std::min(burst * 2, kMaxBurst), kRelaxed);
}

/// Has some of `of` connections closed; returns how many.
std::size_t Listener::make_room(const MakeRoom& room, Shortage shortage, std::size_t of) noexcept {
  const std::int64_t now = runtime::coarse_now();
  if (room.close_some == nullptr || now < room_again_.load(std::memory_order_relaxed)) return 0;
  const std::size_t closed = room.close_some(room.argument, shortage, std::max<std::size_t>(of / kRoomShare, 1));
  if (closed == 0) room_again_.store(now + kRoomPause, std::memory_order_relaxed);
  return closed;
}

/// The first gate: counts the connection, or closes it.
bool Listener::count_in(int fd, const Serving& serving) noexcept {
  ConnectionCounts& counts = *serving.counts;
  if (!counts.take(serving.connections) &&
      (make_room(serving.make_room, Shortage::places, serving.connections) == 0 || !counts.take(serving.connections))) {
    count(serving.metrics->refused_limit);
    sys::close(fd);
    return false;
  }
  if (reserve_.low(fd)) (void)make_room(serving.make_room, Shortage::descriptors, reserve_.few_left());
  count(serving.metrics->accepted);
  FIBERD_PROBE2(conn__accept, fd, serving.name.data());
  return true;
}

/// The next connection's socket, or -errno; `client` stays unspecified unless somebody asks for it.
static int accept_client(int listening, Endpoint& client, const Serving& serving) noexcept {
  if (!serving.wants_client && serving.connections_per_address == 0 && !serving.gate.wants_client)
    return sys::accept4(listening, nullptr, nullptr);
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  const int fd = sys::accept4(listening, reinterpret_cast<sockaddr*>(&address), &size);
  if (fd >= 0) client = Endpoint::from(reinterpret_cast<const sockaddr*>(&address), size);
  return fd;
}

/// Hands the connection to who serves it, if no limit forbids it.
void Listener::admit(int fd, const Endpoint& client, const Serving& serving) noexcept {
  if (serving.memory.admit != nullptr && !serving.memory.admit(serving.memory.argument, client)) {
    count(serving.metrics->refused_memory);
    sys::close(fd);
    return;
  }
  if (serving.gate.admit != nullptr && !serving.gate.admit(serving.gate.argument, client)) {
    count(serving.metrics->refused_gate);
    sys::close(fd);
    return;
  }
  AddressCounts::Entry* place = &serving.counts->anybody();
  if (serving.connections_per_address != 0 && client.family() != AF_UNSPEC) {
    // Before the listener's own limit: one address at its bound must not cost others their idle connections.
    place = serving.counts->take_of(client, serving.connections_per_address);
    if (place == nullptr) {
      count(serving.metrics->refused_address);
      sys::close(fd);
      return;
    }
  }
  if (count_in(fd, serving)) {
    serving.on_accept(serving.argument, Admitted(fd, Place(*place), client));
  } else if (place->table != nullptr) {
    place->table->give_back(*place);
  }
}

/// False when there is nothing (more) to accept now.
bool Listener::accept_one(Socket& socket, const Serving& serving) noexcept {
  Endpoint client;
  const int fd = reserve_.accept([&] { return accept_client(socket.fd, client, serving); });
  if (fd >= 0) {
    admit(fd, client, serving);
    return true;
  }
  switch (-fd) {
    case EAGAIN: return false;
    case EINTR:
    case ECONNABORTED:
    case EPROTO: return true;  // that client is gone; the next may be there
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      if (make_room(serving.make_room, Shortage::descriptors, serving.counts->open()) != 0) return true;
      rest(socket, -fd, serving);
      return false;
    default:
      count(serving.metrics->errors);
      rest(socket, -fd, serving);
      return false;
  }
}

/// Nothing can be accepted now, and the event would come again at once.
void Listener::rest(Socket& socket, int error, const Serving& serving) noexcept {
  bool refused = false;
  const Deadline until = reserve_.refuse_next(socket.fd, error, serving.name, refused);
  if (refused) count(serving.metrics->refused_descriptors);
  // None yet while start() is still at it: then the event comes again.
  if (auto* const registration = socket.registration.load(std::memory_order_acquire); registration != nullptr) {
    registration->suspend();
    socket.arm(until);
  }
}

/// Accepts all that is in the queue.
void Listener::accept_rest(Socket& socket) noexcept {
  const auto serving_now = serving_.read();
  const Serving& serving = **serving_now;
  // Bounded: without the filter new ones may go on arriving meanwhile.
  for (int i = 0; i < 65'536; ++i) {
    Endpoint client;
    const int fd = accept_client(socket.fd, client, serving);
    if (fd == -EINTR || fd == -ECONNABORTED || fd == -EPROTO) continue;
    if (fd < 0) return;
    admit(fd, client, serving);
  }
}

}  // namespace fiberd::net

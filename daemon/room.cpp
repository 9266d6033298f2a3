#include "daemon/room.hpp"

#include <new>

#include "core/http/h1/reclaim.hpp"

namespace fiberd::daemon {

static std::vector<http::Server*> servers_of(const std::vector<std::shared_ptr<HttpServer>>& all) {
  std::vector<http::Server*> servers;
  servers.reserve(all.size());
  for (const auto& s : all)
    if (s->get() != nullptr) servers.push_back(s->get());
  return servers;
}

std::size_t Room::connections() const noexcept {
  const auto present = present_.read();
  std::size_t open = 0;
  for (const auto& c : (*present)->counts) open += c->open();
  return open;
}

/// Handshakes that last too long have cost nobody anything yet.
static std::size_t end_handshakes(const std::vector<std::shared_ptr<HttpServer>>& all, std::size_t most) noexcept {
  std::size_t n = 0;
  for (const auto& s : all)
    if (n < most) n += s->end_handshakes(most - n);
  return n;
}

std::size_t Room::make_descriptors(std::size_t wanted) noexcept {
  const auto present = present_.read();
  // First the files that nobody is sending: they cost nobody anything.
  std::size_t closed = (*present)->files != nullptr ? (*present)->files->reclaim(wanted) : 0;
  if (closed < wanted) closed += end_handshakes((*present)->servers, wanted - closed);
  if (closed >= wanted) return closed;
  try {
    return closed + http::reclaim(servers_of((*present)->servers), wanted - closed);
  } catch (const std::bad_alloc&) {
    return closed;
  }
}

void Room::part_with_some() noexcept {
  const auto present = present_.read();
  if ((*present)->files != nullptr) (*present)->files->clear();
  (void)end_handshakes((*present)->servers, SIZE_MAX);
  try {
    const std::vector<http::Server*> servers = servers_of((*present)->servers);
    std::size_t open = 0;
    for (const http::Server* const s : servers) open += s->connections();
    (void)http::reclaim(servers, open / 8 + 1);
  } catch (const std::bad_alloc&) {  // the next look is in half a second
  }
}

std::size_t Room::cut_fullest(std::uint64_t bytes) noexcept {
  const auto present = present_.read();
  net::QueueSizes sizes;
  for (const auto& q : (*present)->queues) q->measure(sizes);
  const std::size_t least = sizes.least_of(bytes);
  std::size_t cut = 0;
  for (const auto& q : (*present)->queues)
    if (least != SIZE_MAX && bytes != 0) cut += q->cut(least, bytes);
  return cut;
}

std::size_t RoomOfListener::close_some(void* argument, net::Shortage shortage, std::size_t wanted) noexcept {
  const auto& self = *static_cast<const RoomOfListener*>(argument);
  if (shortage == net::Shortage::descriptors) return self.room->make_descriptors(wanted);
  http::Server* const own = self.own != nullptr ? self.own->get() : nullptr;
  if (own == nullptr) return 0;
  const std::size_t closed = self.own->end_handshakes(wanted);
  return closed < wanted ? closed + http::reclaim({&own, 1}, wanted - closed) : closed;
}

}  // namespace fiberd::daemon

#include "daemon/socket_set.hpp"

#include <algorithm>

#include "config/addresses.hpp"
#include "core/base/log.hpp"
#include "core/net/endpoint.hpp"

namespace fiberd::daemon {

std::string normal_address(const std::string& address) {
  const Result<net::Endpoint> endpoint = net::Endpoint::parse(address);
  if (!endpoint) return {};
  if (endpoint->family() == AF_UNIX) return "unix:" + config::normal_socket_path(endpoint->path());
  return endpoint->port() == 0 ? std::string() : endpoint->to_string();
}

static bool is_at(const BoundSocket& s, std::string_view listener, const std::string& address,
                  const std::string& normal) {
  return normal.empty() ? s.listener == listener && s.address == address : normal_address(s.address) == normal;
}

bool SocketSet::has(std::string_view listener, const std::string& address) const {
  const std::string normal = normal_address(address);
  return std::any_of(all_.begin(), all_.end(),
                     [&](const auto& s) { return is_at(*s, listener, address, normal) && s->socket->reachable(); });
}

std::shared_ptr<BoundSocket> SocketSet::find(std::string_view listener, const std::string& address,
                                             const SocketSet& taken) const {
  const std::string wanted = normal_address(address);
  for (const auto& s : all_) {
    if (!is_at(*s, listener, address, wanted) || taken.contains(*s)) continue;
    if (s->socket->reachable()) return s;
    log(LogLevel::warning,
        "listener " + s->listener + ": the file of " + s->address + " was taken away: it is to be bound anew");
  }
  return nullptr;
}

void SocketSet::remove(const BoundSocket& socket) {
  std::erase_if(all_, [&](const auto& s) { return s.get() == &socket; });
}

bool SocketSet::contains(const BoundSocket& socket) const noexcept {
  return std::any_of(all_.begin(), all_.end(), [&](const auto& s) { return s.get() == &socket; });
}

}  // namespace fiberd::daemon

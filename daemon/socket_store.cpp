#include "daemon/socket_store.hpp"

#include <charconv>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "core/base/log.hpp"

namespace fiberd::daemon {

/// 0: there is none.
static std::size_t room_of_store(const Notifier& notifier) {
  const char* const value = std::getenv("FDSTORE");
  std::size_t room = 0;
  if (value == nullptr || !notifier.enabled()) return 0;
  const std::string_view text(value);
  if (std::from_chars(text.data(), text.data() + text.size(), room).ptr != text.data() + text.size()) return 0;
  return room;
}

SocketStore::SocketStore(Notifier& notifier, const std::vector<std::string>& stored)
    : notifier_(notifier), room_(room_of_store(notifier)) {
  for (const std::string& name : stored) stored_.try_emplace(name);
}

void SocketStore::update(const Instance& instance) {
  if (!enabled()) return;
  std::map<std::string, std::vector<int>> wanted = instance.storable();
  for (auto at = stored_.begin(); at != stored_.end();) {
    const auto now = wanted.find(at->first);
    const bool same = now != wanted.end() && (at->second.empty() || at->second == now->second);
    if (same) {
      at->second = now->second;
      ++at;
      continue;
    }
    // A store takes no second descriptor of a socket that it has: what is renamed goes first.
    (void)notifier_.notify("FDSTOREREMOVE=1\nFDNAME=" + at->first);
    at = stored_.erase(at);
  }
  std::size_t used = 0;
  for (const auto& [name, descriptors] : stored_) used += descriptors.size();
  for (auto& [name, descriptors] : wanted) {
    if (stored_.contains(name)) continue;
    used += descriptors.size();
    if (used > room_) {
      if (!std::exchange(said_full_, true))
        log(LogLevel::warning, "the service manager's store takes " + std::to_string(room_) +
                                   " descriptors (FDSTORE, FileDescriptorStoreMax=), which is less than there are "
                                   "listening sockets: a restart closes the rest");
      return;
    }
    if (notifier_.notify_with_fds("FDSTORE=1\nFDPOLL=0\nFDNAME=" + name, descriptors)) continue;
    instance.note_stored(name);
    stored_.emplace(name, std::move(descriptors));
  }
}

}  // namespace fiberd::daemon

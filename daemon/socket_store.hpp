#pragma once
// SocketStore: the service manager's store of descriptors (sd_pid_notify_with_fds(3), FileDescriptorStoreMax=), which
// has our listening sockets while nobody serves: who connects during a restart waits in their queues.
//
// A socket is stored under its listener and address (stored_name()), and found again by both. What is in the store is
// the manager's, too: it is left alone at a stop (net::Keeper::store). Whether there is a store is said by FDSTORE in
// the environment, as systemd does since 254; older ones are helped by Environment=FDSTORE=N beside
// FileDescriptorStoreMax=N in the unit. Without it nothing is stored: of a socket that nobody keeps the filter and the
// file are to go.
#include <map>
#include <string>
#include <vector>

#include "daemon/instance.hpp"
#include "daemon/notify.hpp"

namespace fiberd::daemon {

class SocketStore {
 public:
  /// `stored`: the names that are in it already.
  SocketStore(Notifier& notifier, const std::vector<std::string>& stored);
  /// Stores what `instance` listens at and is not there, and removes what it does not. By one thread at a time, that
  /// may wait for as long as the notifier does. Throws std::bad_alloc.
  void update(const Instance& instance);
  [[nodiscard]] bool enabled() const noexcept { return room_ != 0; }

 private:
  Notifier& notifier_;
  std::size_t room_ = 0;                            // how many descriptors it takes
  std::map<std::string, std::vector<int>> stored_;  // none: not known, of a process before
  bool said_full_ = false;
};

}  // namespace fiberd::daemon

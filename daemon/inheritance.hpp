#pragma once
// Inheritance: what a process that is to serve was given by whoever started it, and has in hand by then.
#include <memory>

#include "daemon/inherited_sockets.hpp"
#include "daemon/tls_parts.hpp"
#include "daemon/upgrade/predecessor.hpp"

namespace fiberd::daemon {

struct Inheritance {
  InheritedSockets sockets;
  std::shared_ptr<upgrade::Predecessor> predecessor;  ///< null: nobody who serves is to be followed
  TlsPartsByName tls{};  ///< read when the configuration was looked at: what has not changed is not read again
};

}  // namespace fiberd::daemon

#pragma once
// Inheritance: what a process that is to serve was given by whoever started it.
#include <memory>

#include "daemon/inherited_sockets.hpp"
#include "daemon/upgrade/predecessor.hpp"

namespace fiberd::daemon {

struct Inheritance {
  InheritedSockets sockets;
  std::shared_ptr<upgrade::Predecessor> predecessor;  ///< null: nobody who serves is to be followed
};

}  // namespace fiberd::daemon

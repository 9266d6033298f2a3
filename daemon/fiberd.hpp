#pragma once
// <fiberd/fiberd.hpp>: all that docs/handlers.md speaks of, in one include. To begin with: a program that has grown, or
// whose builds take long, includes what it uses (the table on that page says what is where). Inside of fiberd nothing
// includes this.
#include "core/http/core.hpp"
#include "daemon/daemon.hpp"

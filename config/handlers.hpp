#pragma once
// Whether the program has the handlers that a configuration names. The configuration's own rules cannot know: handlers
// are registered in C++ (daemon/daemon.hpp).
#include <string>
#include <vector>

#include "config/config.hpp"

namespace fiberd::config {

/// The names a program registered.
struct HandlerNames {
  std::vector<std::string> http;
  std::vector<std::string> tcp;
  std::vector<std::string> filters{};
};

/// Adds a diagnostic, in its place among the others, for each handler or filter that is named and not there: with the
/// nearest name that is, or all of them, or that the name is of the other kind.
void check_handlers(Outcome& outcome, const HandlerNames& names);

}  // namespace fiberd::config

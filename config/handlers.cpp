#include "config/handlers.hpp"

#include <algorithm>

#include "config/reader.hpp"

namespace fiberd::config {

static bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

static void check(const HandlerAction& use, const std::vector<std::string>& names,
                  const std::vector<std::string>& other, const std::string& kind,
                  std::vector<Diagnostic>& diagnostics) {
  if (use.name.empty() || has(names, use.name)) return;  // empty: reported when it was read
  std::string message = "this program has no " + kind + " handler \"" + use.name + "\"";
  if (const std::string near = nearest(use.name, names); !near.empty()) {
    message += "; did you mean " + near + "?";
  } else if (has(other, use.name)) {
    message += "; it has one of the other kind with that name";
  } else if (!names.empty()) {
    message += "; it has:";
    for (const std::string& name : names) message += " " + name;
  } else {
    message += "; it has none: they are registered in C++ (docs/handlers.md)";
  }
  diagnostics.push_back(diagnostic_at(use.name_at, message));
}

void check_handlers(Outcome& outcome, const HandlerNames& names) {
  for (const ListenerConfig& listener : outcome.config.listeners) {
    if (const auto* const http = std::get_if<HttpConfig>(&listener.service)) {
      for (const RouteConfig& route : http->routes)
        if (const auto* const use = std::get_if<HandlerAction>(&route.action))
          check(*use, names.http, names.tcp, "HTTP", outcome.diagnostics);
    } else if (const auto* const tcp = std::get_if<TcpConfig>(&listener.service)) {
      check(tcp->handler, names.tcp, names.http, "TCP", outcome.diagnostics);
    }
  }
  sort_by_place(outcome.diagnostics);
}

}  // namespace fiberd::config

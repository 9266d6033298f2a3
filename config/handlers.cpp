#include "config/handlers.hpp"

#include <algorithm>

#include "config/reader.hpp"

namespace fiberd::config {

static bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

static void check(const std::string& name, const Place& at, const std::vector<std::string>& names,
                  const std::vector<std::string>& other, const std::string& kind,
                  std::vector<Diagnostic>& diagnostics) {
  if (name.empty() || has(names, name)) return;  // empty: reported when it was read
  std::string message = "this program has no " + kind + " \"" + name + "\"";
  if (const std::string near = nearest(name, names); !near.empty()) {
    message += "; did you mean " + near + "?";
  } else if (has(other, name)) {
    message += "; it has " + std::string(kind == "filter" ? "a handler" : "one of the other kind") + " with that name";
  } else if (!names.empty()) {
    message += "; it has:";
    for (const std::string& known : names) message += " " + known;
  } else {
    message += "; it has none: they are registered in C++ (docs/handlers.md)";
  }
  diagnostics.push_back(diagnostic_at(at, message));
}

static void check_filters(const std::vector<FilterConfig>& filters, const HandlerNames& names,
                          std::vector<Diagnostic>& diagnostics) {
  for (const FilterConfig& filter : filters)
    if (const auto* const named = std::get_if<NamedFilter>(&filter))
      check(named->name, named->name_at, names.filters, names.http, "filter", diagnostics);
}

void check_handlers(Outcome& outcome, const HandlerNames& names) {
  for (const ListenerConfig& listener : outcome.config.listeners) {
    if (const auto* const http = std::get_if<HttpConfig>(&listener.service)) {
      check_filters(http->filters, names, outcome.diagnostics);
      for (const RouteConfig& route : http->routes) {
        check_filters(route.filters, names, outcome.diagnostics);
        if (const auto* const use = std::get_if<HandlerAction>(&route.action))
          check(use->name, use->name_at, names.http, names.tcp, "HTTP handler", outcome.diagnostics);
      }
    } else if (const auto* const tcp = std::get_if<TcpConfig>(&listener.service)) {
      check(tcp->handler.name, tcp->handler.name_at, names.tcp, names.http, "TCP handler", outcome.diagnostics);
    }
  }
  sort_by_place(outcome.diagnostics);
}

}  // namespace fiberd::config

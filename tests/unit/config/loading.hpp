#pragma once
// Configurations out of a test's text, and what is said of them.
#include <string>
#include <vector>

#include "config/config.hpp"

namespace fiberd::config {

/// Every diagnostic, a line each.
inline std::string all(const Outcome& outcome) {
  std::string text;
  for (const Diagnostic& d : outcome.diagnostics) text += d.to_string() + "\n";
  return text;
}

inline Outcome load(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return load_text(text, "f.yaml", overrides);
}

/// A listener, for what is not about listeners.
inline const std::string kListener = "listeners: [{name: t, address: \"127.0.0.1:0\", tcp: {echo: {}}}]\n";

/// One HTTP listener with a route's text, from line 6 on; the route's keys begin in column 12.
inline std::string with_route(const std::string& route) {
  return "listeners:\n- name: w\n  address: \"127.0.0.1:80\"\n  http:\n    routes:\n    - " + route + "\n";
}

}  // namespace fiberd::config

#pragma once
// The media type of the admin's pages for people, and what they all answer.
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/printable.hpp"
#include "core/http/query.hpp"

namespace fiberd::daemon {

inline constexpr std::string_view kPlainText = "text/plain; charset=utf-8";

/// What is to be answered where a parameter was misspelt: else the page would do something else than was asked for.
/// `page`: what its answers begin with; a line. nullopt: all are known.
[[nodiscard]] inline std::optional<std::string> why_unknown(std::string_view page, std::string_view query,
                                                            std::initializer_list<std::string_view> known) {
  const auto name = http::unknown_query_name(query, known);
  if (!name) return std::nullopt;
  std::string all;
  for (const std::string_view one : known) all += (all.empty() ? "" : ", ") + std::string(one);
  return std::string(page) + ": no parameter " + quoted(*name, 64) + "; there are " + all + "\n";
}

}  // namespace fiberd::daemon

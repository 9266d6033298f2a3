#pragma once
// What `fiberd top` shows: two looks at a daemon as lines of text.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/top/snapshot.hpp"

namespace fiberd::daemon::top {

/// By what the rows of routes and of sites are put in order.
enum class Sort : std::uint8_t { rate, latency, errors, name, fibers, age };
/// nullopt: no such order. Names: rate, latency, errors, name, fibers, age.
[[nodiscard]] std::optional<Sort> parse_sort(std::string_view name) noexcept;
[[nodiscard]] std::string_view to_string(Sort sort) noexcept;

struct Line {
  enum class Style : std::uint8_t { plain, bold, head, chosen, dim } style = Style::plain;
  std::string text;  ///< as wide as the screen at most
};

struct ViewState {
  Sort routes = Sort::rate;
  Sort sites = Sort::fibers;
  bool in_sites = false;   ///< the cursor is there, else among the routes
  std::size_t cursor = 0;  ///< row
  std::string note{};      ///< what went wrong with the last look; empty: nothing
  bool paused = false;
};

/// The spawn site under the cursor; empty: none is.
[[nodiscard]] std::string site_at(const Snapshot& now, const ViewState& state);

/// `rows` lines of at most `columns` columns; 0 rows: as many as there is to tell (for --once). The cursor is brought
/// into what there is.
[[nodiscard]] std::vector<Line> compose(const Snapshot& now, const Rates& rates, ViewState& state, std::size_t columns,
                                        std::size_t rows);

}  // namespace fiberd::daemon::top

#pragma once
// FlameGraph: stacks with values as a picture: a box for each function below those that called it, as wide as its share
// (Brendan Gregg's flame graphs). SVG that stands alone: zoom by click, search, nothing fetched from anywhere.
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/observe/pprof_profile.hpp"

namespace fiberd::observe {

/// By one thread at a time. What allocates throws std::bad_alloc.
class FlameGraph {
 public:
  static constexpr std::size_t kMostNodes = 50'000;  ///< beyond them the callers are credited
  static constexpr std::size_t kMostDepth = 256;     ///< beyond it, too

  /// `unit`: of the values: "nanoseconds", "bytes", "count" or another word.
  FlameGraph(std::string title, std::string unit) : title_(std::move(title)), unit_(std::move(unit)) {}
  /// Names of functions, the outermost first; whatever they hold is escaped. What is not positive has no width.
  void add(std::span<const std::string_view> frames, std::int64_t value);
  /// `nonce`: what the Content-Security-Policy that goes with it allows its script and its style by; digits and letters
  /// alone. Boxes that would be narrower than a tenth of a pixel are left out.
  [[nodiscard]] std::string svg(std::string_view nonce) const;
  [[nodiscard]] std::int64_t total() const noexcept { return nodes_.front().value; }

 private:
  struct Node {
    std::string name;
    std::int64_t value = 0;  // with those that it calls
    std::int64_t self = 0;
    std::map<std::string, std::size_t, std::less<>> calls{};  // index in nodes_
  };
  struct Drawing;
  void draw(Drawing& drawing, std::size_t node, double x, std::size_t depth) const;
  [[nodiscard]] std::string widest_leaf() const;

  std::string title_;
  std::string unit_;
  std::vector<Node> nodes_{Node{"all"}};
};

/// Of values of one of the profile's types (PprofProfile::type_index). Blocks: names are looked up.
[[nodiscard]] FlameGraph draw_flames(const PprofProfile& profile, std::size_t type, std::string title);

}  // namespace fiberd::observe

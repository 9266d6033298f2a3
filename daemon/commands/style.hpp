#pragma once
// Colours for people who look at a terminal, and for nobody else.
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace fiberd::daemon::commands {

enum class Style : std::uint8_t { plain, good, bad, strong, dim };

class Paint {
 public:
  /// Colours are wanted where `stream` is a terminal that knows them, unless the environment has NO_COLOR
  /// (https://no-color.org: set, and not empty).
  explicit Paint(FILE* stream);
  [[nodiscard]] std::string operator()(Style style, std::string_view text) const;

 private:
  bool wanted_;
};

}  // namespace fiberd::daemon::commands

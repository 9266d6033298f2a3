#include "daemon/commands/style.hpp"

#include <unistd.h>

#include <cstdlib>

namespace fiberd::daemon::commands {

Paint::Paint(FILE* stream) {
  const char* const refused = std::getenv("NO_COLOR");
  const char* const terminal = std::getenv("TERM");
  wanted_ = ::isatty(::fileno(stream)) != 0 && (refused == nullptr || *refused == '\0') && terminal != nullptr &&
            *terminal != '\0' && std::string_view(terminal) != "dumb";
}

std::string Paint::operator()(Style style, std::string_view text) const {
  std::string_view begin;
  switch (style) {
    case Style::plain: break;
    case Style::good: begin = "\x1b[32m"; break;
    case Style::bad: begin = "\x1b[31m"; break;
    case Style::strong: begin = "\x1b[1m"; break;
    case Style::dim: begin = "\x1b[2m"; break;
  }
  if (!wanted_ || begin.empty()) return std::string(text);
  return std::string(begin).append(text).append("\x1b[0m");
}

}  // namespace fiberd::daemon::commands

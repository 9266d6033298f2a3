#pragma once
// AccessLine: a line of an access log, as its format says it. How: access_line.cpp.
#include <array>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "core/http/access_record.hpp"

namespace fiberd::daemon {

enum class AccessFormat : unsigned char {
  common,    ///< NCSA's: client, user, time, request, status, bytes of the answer's body
  combined,  ///< common, Referer and User-Agent
  json,      ///< an object
  written    ///< a template of named fields (config/log_fields.hpp)
};

/// Immutable once made: any number of threads may write with it at once.
class AccessLine {
 public:
  /// No line is longer, its end included: what a pipe takes in one piece.
  static constexpr std::size_t kMost = 4096;

  /// `text` is the template of AccessFormat::written; others have none. `listener` is a word. Errors: invalid_argument
  /// (no template), message_size (its fields and what is between them leave no room for what clients send). Throws
  /// std::bad_alloc.
  [[nodiscard]] static Result<AccessLine> make(AccessFormat format, std::string listener, std::string_view text = {});

  /// A whole line with its end, and its size. Nothing that a client has sent ends the line or its field; what is too
  /// long is cut and marked. Allocates nothing. Never parks.
  std::size_t write(std::array<char, kMost>& out, const http::AccessRecord& record, std::timespec now) const noexcept;

 private:
  struct Part {
    std::uint8_t field;  // a config::LogField, or kLiteral
    bool quoted;         // stands between quotation marks
    bool alone;          // no other field beside it: "-" when it is empty
    char stop;           // the literal's byte behind it, where it may hold that; '\0': it does not
    std::uint16_t most;  // bytes of it
    std::string text;    // the literal
  };
  AccessLine(AccessFormat format, std::string listener) noexcept : format_(format), listener_(std::move(listener)) {}
  [[nodiscard]] Result<void> lay_out(std::string_view text);

  AccessFormat format_;
  std::string listener_;
  std::vector<Part> parts_;
};

}  // namespace fiberd::daemon

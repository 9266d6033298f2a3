#pragma once
// The fields that a collector wants to see, most of them secrets: from tracing.headers_file, a line each, "Name:
// value".
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "core/base/result.hpp"

namespace fiberd::daemon {

inline constexpr std::size_t kMostHeadersFile = 16'384;  ///< bytes
inline constexpr std::size_t kMostHeaders = 32;

using CollectorHeaders = std::vector<std::pair<std::string, std::string>>;

/// Empty lines, and those that begin with '#', are none. Blocks the thread. Error: what reading said, or
/// invalid_argument; `why`: a sentence without anything of the file's text. Throws std::bad_alloc.
[[nodiscard]] Result<CollectorHeaders> read_collector_headers(const std::string& file, std::string& why);
/// What is to be said of a file that everybody may read; empty: nothing.
[[nodiscard]] std::string warn_of_headers_file(const std::string& file);

}  // namespace fiberd::daemon

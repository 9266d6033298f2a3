#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/http/exchange.hpp"

namespace fiberd::http {

struct FilesOptions {
  std::string root;                                 ///< a directory; relative to the working directory
  std::vector<std::string> index = {"index.html"};  ///< tried in order for a directory
  std::size_t open_files = 1024;                    ///< kept open
};

/// Serves the files below `root` to GET and HEAD: the rest of the path under a prefix route, the whole path else.
/// A directory without its final slash is redirected, with it one of `index` is served. Names beginning with a dot are
/// hidden (404), but for /.well-known (RFC 8615). Errors: what opening the root said.
[[nodiscard]] Result<std::shared_ptr<Handler>> make_files_handler(FilesOptions options);

}  // namespace fiberd::http

#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/http/exchange.hpp"
#include "core/http/files/mime.hpp"
#include "core/http/files/open_files.hpp"
#include "core/http/handler.hpp"

namespace fiberd::http {

struct FilesOptions {
  std::string root{};                               ///< a directory; relative to the working directory
  std::vector<std::string> index = {"index.html"};  ///< tried in order for a directory
  /// Where opened files are kept; may be shared by many handlers, and bounds what they keep together. Null: one of its
  /// own, with OpenFilesOptions' defaults.
  std::shared_ptr<OpenFiles> kept{};
  std::string cache_control{};  ///< Cache-Control of 200, 206 and 304; empty: none
  /// Of "br", "zstd", "gzip", best first: siblings of a file with .br, .zst, .gz behind its name are sent instead of it
  /// to clients that accept them. One that is older than its file is not used.
  std::vector<std::string> precompressed{};
  /// Names tried in order instead of the path as it is; `$path` in them stands for the path below the root. One that
  /// ends in a slash stands for its index; where it is the request's own name with a slash, a redirect goes there
  /// instead, so that the routes have their say about it.
  std::vector<std::string> try_files{};
  std::string fallback{};  ///< sent with 200 where there is no such file (single-page applications); empty: 404
  /// Directories without an index, or with try_files those for which none of them is there, are listed: as HTML or JSON
  /// by Accept.
  bool listing = false;
  MediaTypes types{};       ///< by which files are told to be what they are
  std::size_t ranges = 16;  ///< most ranges of a request; with more it gets the whole file. 0: no ranges
};

/// Serves the files below `root` to GET and HEAD: the rest of the path under a prefix route, the whole path else
/// (Exchange::below_root). `root` is looked up anew for each file that is opened, so a link that is turned to another
/// directory takes effect within two seconds. A directory without its final slash is redirected, with it one of `index`
/// is served. Names beginning with a dot are hidden (404), but for /.well-known (RFC 8615). Length and ETag belong to
/// the bytes that are sent; of a file that changes while it is sent the answer is cut short and its connection closed.
/// Preconditions and ranges as in RFC 9110 sections 13 and 14. Errors: what opening the root said, and with `listing`
/// reading it; invalid_argument for an unknown coding or a cache_control that would split the head.
[[nodiscard]] Result<std::shared_ptr<Handler>> make_files_handler(FilesOptions options);

}  // namespace fiberd::http

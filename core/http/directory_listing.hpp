#pragma once
// Directory listings: names below a root, for people (HTML) and programs (JSON).
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "core/http/open_file.hpp"

namespace fiberd::http {

struct ListedName {
  std::string name;
  bool directory;
  std::uint64_t size;  ///< bytes; of regular files
  std::int64_t mtime;  ///< seconds since 1970
};

/// Regular files and directories in `path` (as FileRoot::open_below takes it), sorted by name, directories first; names
/// that begin with a dot are left out, and so is what a symbolic link names. Blocks: run it on the blocking pool.
/// Errors: as open_below; value_too_large with more than `most` names.
[[nodiscard]] Result<std::vector<ListedName>> list_directory(const FileRoot& root, const std::string& path,
                                                             std::size_t most);

/// A page of links; `path` is the decoded path of the request. Everything in it is escaped.
[[nodiscard]] std::string render_listing_html(std::string_view path, const std::vector<ListedName>& names);
/// [{"name":"a.txt","type":"file","size":4,"modified":"2001-09-09T01:46:40Z"}, …]. Bytes of a name that are no UTF-8
/// become U+FFFD.
[[nodiscard]] std::string render_listing_json(const std::vector<ListedName>& names);

}  // namespace fiberd::http

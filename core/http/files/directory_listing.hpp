#pragma once
// Directory listings: names below a root, for people (HTML) and programs (JSON).
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "core/http/files/open_file.hpp"

namespace fiberd::http {

struct ListedName {
  std::string name;
  bool directory;
  std::uint64_t size;  ///< bytes; of regular files
  std::int64_t mtime;  ///< seconds since 1970
};

struct Listing {
  std::vector<ListedName> names{};
  bool cut = false;  ///< there are more
};

/// Regular files and directories in `path` (as FileRoot::open_below takes it), sorted by name, directories first. A
/// symbolic link is listed as what it leads to, where that would be served: one out of the root, to nothing or to what
/// is neither file nor directory is left out, and so are names that begin with a dot. Blocks: run it on the blocking
/// pool. Of more than `most` names those that the file system gives first: to find the first of a sorted list all of
/// them would have to be read, and how many that are is not ours to bound. Errors: as open_below.
[[nodiscard]] Result<Listing> list_directory(const FileRoot& root, const std::string& path, std::size_t most);

/// A page of links; `path` is the decoded path of the request. Everything in it is escaped; control characters and
/// bytes that are no UTF-8 are shown as U+FFFD, but links keep each byte. Says so when the listing is cut.
[[nodiscard]] std::string render_listing_html(std::string_view path, const Listing& listing);
/// [{"name":"a.txt","type":"file","size":4,"modified":"2001-09-09T01:46:40Z"}, …]. Bytes of a name that are no UTF-8
/// become U+FFFD. That the listing is cut is for the answer's head to say.
[[nodiscard]] std::string render_listing_json(const Listing& listing);

}  // namespace fiberd::http

#pragma once
// FileCache: open files by path, least recently used out first. A hit costs a hash and a short lock. An entry is looked
// at again (open and fstat, on the blocking pool) when it was last looked at more than a second ago. One fiber does it;
// for one more second the others go on with what is there, and after that they look themselves. So a file that changes
// is served anew at most two seconds later, however slow the disk and however long nobody asked for it.
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/base/intrusive_list.hpp"
#include "core/base/lock.hpp"
#include "core/http/open_file.hpp"
#include "core/http/response.hpp"

namespace fiberd::http {

class FileCache {
 public:
  static constexpr std::size_t kMaxSiblings = 3;
  /// One form of a file: as it is, or compressed before.
  struct Content {
    std::shared_ptr<const OpenFile> file;     ///< nullptr: there is none
    FieldBlock fields;                        ///< of an answer with all of it
    std::atomic<std::int64_t> warm_until{0};  ///< its pages were in memory when last probed
  };
  struct Entry : ListHook {
    std::string path;
    Content content;
    std::array<Content, kMaxSiblings> compressed;  ///< as the siblings given to the cache
    std::atomic<std::int64_t> valid_until{0};      ///< a second after it was last known to be right
    std::atomic<std::int64_t> revalidation{0};     ///< until then, somebody looks again
  };

  /// Keeps at most `capacity` paths open, at least 1. Beside a regular file those that are called the same with one of
  /// `siblings` (".gz") behind are opened, at most kMaxSiblings, each unless it is older than the file. `prepare` sees
  /// each entry of a regular file once, on the blocking pool, before anybody else; it may be empty.
  FileCache(const FileRoot& root, std::size_t capacity, std::vector<std::string> siblings = {},
            std::function<void(Entry&)> prepare = {});
  ~FileCache();
  FileCache(const FileCache&) = delete;
  FileCache& operator=(const FileCache&) = delete;

  /// The file at `path` below the root. Parks on a miss or a revalidation (WaitReason::file). Errors as open_below.
  [[nodiscard]] Result<std::shared_ptr<Entry>> get(std::string_view path);
  [[nodiscard]] std::size_t size() const noexcept;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const noexcept { return std::hash<std::string_view>()(s); }
  };
  [[nodiscard]] Result<std::shared_ptr<Entry>> open(const std::string& path) const;
  [[nodiscard]] std::shared_ptr<Entry> find(std::string_view path) noexcept;
  void insert(const std::shared_ptr<Entry>& entry);
  void erase(std::string_view path) noexcept;

  const FileRoot& root_;
  const std::size_t capacity_;
  const std::vector<std::string> siblings_;
  const std::function<void(Entry&)> prepare_;
  mutable Lock lock_;
  std::unordered_map<std::string, std::shared_ptr<Entry>, Hash, std::equal_to<>> entries_;
  List<Entry> used_;  // front: longest unused
};

}  // namespace fiberd::http

#pragma once
// FileCache: one root's files by path, kept among those of all (open_files.hpp). A hit costs a hash and a short lock.
// An entry is looked at again (open and fstat, on the blocking pool) when it was last looked at more than a second ago.
// One fiber does it; for one more second the others go on with what is there, and after that they look themselves. So a
// file that changes is served anew at most two seconds later, however slow the disk and however long nobody asked for
// it.
//
// Old is not wrong: an answer's length and ETag belong to its bytes. Files of up to kSmall bytes are in memory, read
// between two equal looks at them, and sent from there (which is cheaper up to that size than sendfile and its page
// references: 15 µs against 22 for 2 KiB, 22 against 30 for 128 KiB). Larger ones are sent by descriptor, and whoever
// writes into one of these changes what is sent: so its descriptor is asked at each answer (OpenFile::unchanged(), one
// fstat). Rejected: leases (the writer would wait for us), inotify (an event comes when it comes, there are few
// watches, and a file system that another machine writes to has none), looking every few milliseconds (a lie for as
// long).
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/http/files/open_file.hpp"
#include "core/http/files/open_files.hpp"
#include "core/http/response.hpp"

namespace fiberd::http {

class FileCache {
 public:
  static constexpr std::size_t kMaxSiblings = 3;
  static constexpr std::uint64_t kSmall = std::uint64_t{128} * 1024;
  /// One form of a file: as it is, or compressed before.
  struct Content {
    std::shared_ptr<const OpenFile> file;     ///< nullptr: there is none
    FieldBlock fields;                        ///< of an answer with all of it
    std::atomic<std::int64_t> warm_until{0};  ///< its pages were in memory when last probed
  };
  struct Entry final : KeptFile {
    using KeptFile::KeptFile;
    Content content;
    std::array<Content, kMaxSiblings> compressed;  ///< as the siblings given to the cache
    std::atomic<std::int64_t> valid_until{0};      ///< a second after it was last known to be right
    std::atomic<std::int64_t> revalidation{0};     ///< until then, somebody looks again
  };

  /// Beside a regular file those that are called the same with one of `siblings` (".gz") behind are opened, at most
  /// kMaxSiblings, each unless it is older than the file. `prepare` sees each entry of a regular file once, on the
  /// blocking pool, before anybody else; it may be empty. `root` and `kept` must outlive the cache.
  FileCache(const FileRoot& root, OpenFiles& kept, std::vector<std::string> siblings = {},
            std::function<void(Entry&)> prepare = {});
  ~FileCache();
  FileCache(const FileCache&) = delete;
  FileCache& operator=(const FileCache&) = delete;

  /// The file at `path` below the root. Parks on a miss or a revalidation (WaitReason::file). Errors as open_below.
  [[nodiscard]] Result<std::shared_ptr<Entry>> get(std::string_view path);
  /// `entry` anew: it was found to be no longer right. Parks. Errors as open_below.
  [[nodiscard]] Result<std::shared_ptr<Entry>> renew(const std::shared_ptr<Entry>& entry);

 private:
  [[nodiscard]] Result<std::shared_ptr<Entry>> open(const std::string& path, const Entry* present) const;
  [[nodiscard]] Result<std::shared_ptr<OpenFile>> open_with_room(const std::string& path) const;
  [[nodiscard]] Result<std::shared_ptr<const OpenFile>> open_form(const std::string& path,
                                                                  const Content* present) const;
  [[nodiscard]] Result<std::shared_ptr<Entry>> look(std::string_view path, const std::shared_ptr<Entry>& present,
                                                    std::int64_t now);

  const FileRoot& root_;
  OpenFiles& kept_;
  const std::vector<std::string> siblings_;
  const std::function<void(Entry&)> prepare_;
};

}  // namespace fiberd::http

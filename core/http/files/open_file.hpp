#pragma once
// Opening files below a root that nothing in a path can leave, and keeping them open.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/base/lock.hpp"
#include "core/base/result.hpp"

struct stat;

namespace fiberd::http {

/// A regular file or directory with what its answer needs, and its content: in memory, or by an open descriptor, closed
/// with its last owner. Immutable once it is shared.
class OpenFile {
 public:
  enum class Kind : std::uint8_t { regular, directory };

  /// Takes over `fd`, which `stat` describes.
  OpenFile(int fd, const struct stat& stat);
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  /// Of a regular file of at most `most` bytes the content is read into memory, and the descriptor closed; of a
  /// directory the descriptor is closed. What is in memory belongs to size() and etag(), whatever becomes of the file;
  /// when that changes faster than it is read, etag() is weak. Blocks. Errors: what read or fstat said.
  [[nodiscard]] Result<void> load(std::uint64_t most);

  /// -1 after load().
  [[nodiscard]] int fd() const noexcept { return fd_; }
  [[nodiscard]] bool in_memory() const noexcept { return in_memory_; }
  /// The content when it is in memory.
  [[nodiscard]] std::string_view bytes() const noexcept { return bytes_; }
  /// Whether size() and etag() are still those of what a read would give now. In memory always; else one fstat. What
  /// the page cache tells of a file that was written through a shared mapping may come late.
  [[nodiscard]] bool unchanged() const noexcept;
  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// Seconds since 1970, as stat tells it: it may lie in the future.
  [[nodiscard]] std::int64_t mtime() const noexcept { return mtime_s_; }
  /// What Last-Modified says, in seconds since 1970: mtime(), but not later than when the file was opened (RFC 9110
  /// section 8.8.2.1). A client's dates are compared with this one, which is the one that it was told. Negative: it
  /// says nothing, for the file's time is 0, 1 or less, as package stores and reproducible images set it for all files:
  /// who compared with it would take each version for the one before.
  [[nodiscard]] std::int64_t last_modified_time() const noexcept { return last_modified_time_; }
  /// Last-Modified's value, IMF-fixdate; empty: it has none.
  [[nodiscard]] std::string_view last_modified() const noexcept { return last_modified_; }
  /// ETag's value: a hash of what stat tells, the time of the last change of the inode included, which nobody can set
  /// back: a file that is rewritten and given its old time is another one, and so is one without a time. Weak while the
  /// last change is so fresh that another one may follow without a new time (RFC 9110 section 8.8.1).
  [[nodiscard]] std::string_view etag() const noexcept { return etag_; }
  /// The same file with the same content, as far as stat can tell, and known as well.
  [[nodiscard]] bool same_as(const OpenFile& other) const noexcept;

 private:
  void describe(const struct stat& st);
  [[nodiscard]] bool describes(const struct stat& st) const noexcept;

  int fd_;
  bool in_memory_ = false;
  Kind kind_;
  std::uint64_t size_ = 0;
  std::int64_t mtime_s_ = 0;
  std::int64_t mtime_ns_ = 0;
  std::int64_t ctime_s_ = 0;
  std::int64_t ctime_ns_ = 0;
  std::int64_t last_modified_time_ = -1;
  std::uint64_t inode_;
  std::uint64_t device_;
  std::string last_modified_;
  std::string etag_;
  std::string bytes_;
};

/// A directory below which files are opened. Its name is looked up anew each time: where it is a link that was turned
/// to another directory, or was removed and made again, the next file comes from the new one. While the name leads
/// nowhere the directory of before is kept. Thread-safe. All calls block the thread: run them on the blocking pool.
class FileRoot {
 public:
  /// `path` is made absolute now. Errors: what open(2) said; not_a_directory; permission_denied: nothing below it can
  /// be reached.
  [[nodiscard]] static Result<std::unique_ptr<FileRoot>> open(const std::string& path);
  ~FileRoot() = default;
  FileRoot(const FileRoot&) = delete;
  FileRoot& operator=(const FileRoot&) = delete;

  /// `path` is relative, decoded, without dot segments. By openat2(RESOLVE_BENEATH): symbolic links may lead anywhere
  /// below the root, never out. Without openat2 (before Linux 5.6, or refused by a sandbox): component by component,
  /// following no link. A path that keeps changing while it is walked is taken as absent. Errors:
  /// no_such_file_or_directory (also for what is neither file nor directory), permission_denied, too_many_files_open…
  [[nodiscard]] Result<std::shared_ptr<OpenFile>> open_below(const std::string& path) const;

 private:
  struct Directory {
    explicit Directory(int f, const struct stat& st) noexcept;
    ~Directory();
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;
    const int fd;
    std::uint64_t inode;
    std::uint64_t device;
  };
  explicit FileRoot(std::string path) : path_(std::move(path)) {}
  [[nodiscard]] static Result<std::shared_ptr<const Directory>> open_directory(const std::string& path);
  [[nodiscard]] std::shared_ptr<const Directory> current() const;

  const std::string path_;
  mutable Lock lock_;
  mutable std::shared_ptr<const Directory> directory_ FIBERD_GUARDED_BY(lock_);  // under lock_
};

}  // namespace fiberd::http

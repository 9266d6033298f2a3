#pragma once
// Opening files below a root that nothing in a path can leave, and keeping them open.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/result.hpp"

struct stat;

namespace fiberd::http {

/// An open regular file or directory with what its answer needs. Immutable; closed with its last owner.
class OpenFile {
 public:
  enum class Kind : std::uint8_t { regular, directory };

  /// Takes over `fd`, which `stat` describes.
  OpenFile(int fd, const struct stat& stat);
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  [[nodiscard]] int fd() const noexcept { return fd_; }
  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// Seconds since 1970, as stat tells it: it may lie in the future.
  [[nodiscard]] std::int64_t mtime() const noexcept { return mtime_s_; }
  /// What Last-Modified says, in seconds since 1970: mtime(), but not later than when the file was opened (RFC 9110
  /// section 8.8.2.1). A client's dates are compared with this one, which is the one that it was told.
  [[nodiscard]] std::int64_t last_modified_time() const noexcept { return last_modified_time_; }
  /// Last-Modified's value, IMF-fixdate.
  [[nodiscard]] std::string_view last_modified() const noexcept { return last_modified_; }
  /// ETag's value: a hash of what stat tells. Weak while the last change is so fresh that another one may follow
  /// without a new time (RFC 9110 section 8.8.1).
  [[nodiscard]] std::string_view etag() const noexcept { return etag_; }
  /// The same file with the same content, as far as stat can tell, and known as well.
  [[nodiscard]] bool same_as(const OpenFile& other) const noexcept;

 private:
  int fd_;
  Kind kind_;
  std::uint64_t size_;
  std::int64_t mtime_s_;
  std::int64_t mtime_ns_;
  std::int64_t last_modified_time_;
  std::uint64_t inode_;
  std::uint64_t device_;
  std::string last_modified_;
  std::string etag_;
};

/// A directory below which files are opened. Thread-safe. All calls block the thread: run them on the blocking pool.
class FileRoot {
 public:
  /// Errors: what open(2) said; not_a_directory.
  [[nodiscard]] static Result<std::unique_ptr<FileRoot>> open(const std::string& path);
  ~FileRoot();
  FileRoot(const FileRoot&) = delete;
  FileRoot& operator=(const FileRoot&) = delete;

  /// `path` is relative, decoded, without dot segments. By openat2(RESOLVE_BENEATH): symbolic links may lead anywhere
  /// below the root, never out. Without openat2 (before Linux 5.6, or refused by a sandbox): component by component,
  /// following no link. A path that keeps changing while it is walked is taken as absent. Errors:
  /// no_such_file_or_directory (also for what is neither file nor directory), permission_denied, too_many_files_open…
  [[nodiscard]] Result<std::shared_ptr<const OpenFile>> open_below(const std::string& path) const;

 private:
  explicit FileRoot(int fd) noexcept : fd_(fd) {}
  int fd_;
};

}  // namespace fiberd::http

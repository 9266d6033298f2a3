#include "core/http/files/open_file.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <ctime>
#include <filesystem>

#include "core/base/random.hpp"
#include "core/http/date.hpp"

namespace fiberd::http {

/// A change within the file system's clock tick leaves the same time behind; two seconds cover every one in use.
static constexpr std::time_t kFresh = 2;

static std::string etag_of(const struct stat& st, bool weak) {
  // The inode's number is nobody's business, so it goes in hashed.
  std::uint64_t h = 0;
  for (const auto part : {static_cast<std::uint64_t>(st.st_size), static_cast<std::uint64_t>(st.st_mtim.tv_sec),
                          static_cast<std::uint64_t>(st.st_mtim.tv_nsec), static_cast<std::uint64_t>(st.st_ctim.tv_sec),
                          static_cast<std::uint64_t>(st.st_ctim.tv_nsec), static_cast<std::uint64_t>(st.st_ino),
                          static_cast<std::uint64_t>(st.st_dev)})
    h = Random(h ^ part).next();
  char text[24];
  const int n = std::snprintf(text, sizeof text, "%s\"%016llx\"", weak ? "W/" : "", static_cast<unsigned long long>(h));
  return {text, static_cast<std::size_t>(n)};
}

/// Times up to here are no times: what sets them sets them for every file.
static constexpr std::int64_t kNoTime = 1;

OpenFile::OpenFile(int fd, const struct stat& st)
    : fd_(fd), kind_(S_ISREG(st.st_mode) ? Kind::regular : Kind::directory), inode_(st.st_ino), device_(st.st_dev) {
  describe(st);
}

void OpenFile::describe(const struct stat& st) {
  const std::time_t now = std::time(nullptr);
  size_ = static_cast<std::uint64_t>(st.st_size);
  mtime_s_ = st.st_mtim.tv_sec;
  mtime_ns_ = st.st_mtim.tv_nsec;
  ctime_s_ = st.st_ctim.tv_sec;
  ctime_ns_ = st.st_ctim.tv_nsec;
  last_modified_time_ = mtime_s_ > kNoTime ? std::min<std::int64_t>(mtime_s_, now) : -1;
  if (last_modified_time_ >= 0) {
    last_modified_.resize(kDateSize);
    format_date(static_cast<std::time_t>(last_modified_time_), last_modified_.data());
  } else {
    last_modified_.clear();
  }
  etag_ = etag_of(st, mtime_s_ > now - kFresh);
}

OpenFile::~OpenFile() {
  if (fd_ >= 0) ::close(fd_);
}

bool OpenFile::same_as(const OpenFile& o) const noexcept {
  return kind_ == o.kind_ && size_ == o.size_ && mtime_s_ == o.mtime_s_ && mtime_ns_ == o.mtime_ns_ &&
         ctime_s_ == o.ctime_s_ && ctime_ns_ == o.ctime_ns_ && inode_ == o.inode_ && device_ == o.device_ &&
         etag_ == o.etag_;
}

/// Also where a fiber calls it: a leaf, since it is about errno (net/sys.hpp says why).
[[gnu::noinline]] static bool stat_of(int fd, struct stat& st) noexcept { return ::fstat(fd, &st) == 0; }

bool OpenFile::unchanged() const noexcept {
  if (fd_ < 0) return true;
  struct stat st {};
  return stat_of(fd_, st) && describes(st);
}

bool OpenFile::describes(const struct stat& st) const noexcept {
  return static_cast<std::uint64_t>(st.st_size) == size_ && st.st_mtim.tv_sec == mtime_s_ &&
         st.st_mtim.tv_nsec == mtime_ns_ && st.st_ctim.tv_sec == ctime_s_ && st.st_ctim.tv_nsec == ctime_ns_;
}

/// Of what fits into `out`; fewer bytes at the file's end.
static std::error_code read_all(int fd, std::string& out) noexcept {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return {errno, std::system_category()};
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  out.resize(done);
  return {};
}

Result<void> OpenFile::load(std::uint64_t most) {
  static constexpr int kAttempts = 3;
  if (kind_ == Kind::regular) {
    std::string bytes;
    bool settled = false;
    for (int attempt = 0; !settled && attempt < kAttempts; ++attempt) {
      if (size_ > most) return {};
      bytes.resize(size_);
      if (const std::error_code error = read_all(fd_, bytes)) return fail(error);
      // Read, and unchanged since it was looked at: then these bytes are those that size and ETag speak of.
      struct stat st {};
      if (!stat_of(fd_, st)) return fail_errno(-EIO);
      settled = bytes.size() == size_ && describes(st);
      if (!settled) describe(st);
    }
    if (!settled) {
      size_ = bytes.size();
      if (etag_.front() == '"') etag_.insert(0, "W/");
    }
    bytes_ = std::move(bytes);
    in_memory_ = true;
  }
  ::close(std::exchange(fd_, -1));
  return {};
}

// ---------------------------------------------------------------------------------------------- the root

FileRoot::Directory::Directory(int f, const struct stat& st) noexcept : fd(f), inode(st.st_ino), device(st.st_dev) {}
FileRoot::Directory::~Directory() { ::close(fd); }

Result<std::shared_ptr<const FileRoot::Directory>> FileRoot::open_directory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return fail_errno(-errno);
  struct stat st {};
  if (::fstat(fd, &st) != 0) {
    const int error = errno;
    ::close(fd);
    return fail_errno(-error);
  }
  return std::make_shared<const Directory>(fd, st);
}

Result<std::unique_ptr<FileRoot>> FileRoot::open(const std::string& path) {
  Result<std::shared_ptr<const Directory>> directory = open_directory(path);
  if (!directory) return fail(directory.error());
  // O_PATH asks for no right on the directory itself: without this look below it each request would be 403.
  const int below = ::openat((*directory)->fd, ".", O_PATH | O_CLOEXEC);
  if (below < 0) return fail_errno(-errno);
  ::close(below);
  // Not canonical: the links in it are what shall be followed each time.
  std::error_code error;
  const std::string absolute = std::filesystem::absolute(path, error).string();
  std::unique_ptr<FileRoot> root(new FileRoot(error ? path : absolute));
  {
    const LockGuard guard(root->lock_);
    root->directory_ = std::move(*directory);
  }
  return root;
}

/// The numbers of an inode that is held open are nobody else's, so comparing them is enough.
std::shared_ptr<const FileRoot::Directory> FileRoot::current() const {
  std::shared_ptr<const Directory> known;
  {
    const LockGuard guard(lock_);
    known = directory_;
  }
  struct stat st {};
  if (::stat(path_.c_str(), &st) != 0 || (st.st_ino == known->inode && st.st_dev == known->device)) return known;
  Result<std::shared_ptr<const Directory>> now = open_directory(path_);
  if (!now) return known;
  const LockGuard guard(lock_);
  known.swap(directory_);  // the last owner closes it, after the lock
  directory_ = *now;
  return std::move(*now);
}

static constexpr int kOpenAttempts = 8;
static constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;  // a FIFO must not hang the open

/// The path one component at a time, following no link: slower and stricter, but needs no new system call.
static int open_by_component(int root, const std::string& path) {
  int at = root;
  std::size_t begin = 0;
  for (;;) {
    const std::size_t slash = path.find('/', begin);
    const bool last = slash == std::string::npos;
    const std::string name = path.substr(begin, last ? std::string::npos : slash - begin);
    int next = -1;
    if (name == "..") {
      errno = EXDEV;
    } else {
      next = openat(at, name.empty() ? "." : name.c_str(),
                    (last ? kFlags : O_PATH | O_DIRECTORY | O_CLOEXEC) | O_NOFOLLOW);
    }
    const int error = errno;
    if (at != root) ::close(at);
    if (next < 0 || last) {
      errno = error;
      return next;
    }
    at = next;
    begin = slash + 1;
  }
}

Result<std::shared_ptr<OpenFile>> FileRoot::open_below(const std::string& path) const {
  const std::shared_ptr<const Directory> root = current();
  static std::atomic<bool> no_openat2{false};
  const std::string name = path.empty() ? "." : path;
  int fd = -1;
  if (!no_openat2.load(std::memory_order_relaxed)) {
    open_how how{};
    how.flags = kFlags;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    // EAGAIN: something was renamed or mounted, anywhere, while ".." in a link was walked, so that the kernel cannot
    // vouch for the result. That is rare and over at once, but whoever may rename files must not hold us here.
    for (int attempt = 0; attempt < kOpenAttempts; ++attempt) {
      fd = static_cast<int>(syscall(SYS_openat2, root->fd, name.c_str(), &how, sizeof how));
      if (fd >= 0 || errno != EAGAIN) break;
    }
    if (fd < 0 && errno == ENOSYS) no_openat2.store(true, std::memory_order_relaxed);
    // EPERM is what some container sandboxes say for system calls they do not know.
    if (fd < 0 && (errno == ENOSYS || errno == EPERM)) fd = open_by_component(root->fd, name);
  } else {
    fd = open_by_component(root->fd, name);
  }
  if (fd < 0) {
    // A way out of the root, a loop, a link where none may be: to the client that is simply not there.
    if (errno == EXDEV || errno == ELOOP || errno == ENXIO || errno == ENOTDIR || errno == ENAMETOOLONG ||
        errno == EAGAIN)
      return fail(std::errc::no_such_file_or_directory);
    return fail_errno(-errno);
  }
  struct stat st {};
  if (fstat(fd, &st) != 0) {
    const int error = errno;
    ::close(fd);
    return fail_errno(-error);
  }
  if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
    ::close(fd);
    return fail(std::errc::no_such_file_or_directory);
  }
  return std::make_shared<OpenFile>(fd, st);
}

}  // namespace fiberd::http

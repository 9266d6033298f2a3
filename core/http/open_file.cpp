#include "core/http/open_file.hpp"

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

#include "core/base/random.hpp"
#include "core/http/date.hpp"

namespace fiberd::http {

/// A change within the file system's clock tick leaves the same time behind; two seconds cover every one in use.
static constexpr std::time_t kFresh = 2;

static std::string etag_of(const struct stat& st, bool weak) {
  // The inode's number is nobody's business, so it goes in hashed.
  std::uint64_t h = 0;
  for (const auto part : {static_cast<std::uint64_t>(st.st_size), static_cast<std::uint64_t>(st.st_mtim.tv_sec),
                          static_cast<std::uint64_t>(st.st_mtim.tv_nsec), static_cast<std::uint64_t>(st.st_ino),
                          static_cast<std::uint64_t>(st.st_dev)})
    h = Random(h ^ part).next();
  char text[24];
  const int n = std::snprintf(text, sizeof text, "%s\"%016llx\"", weak ? "W/" : "", static_cast<unsigned long long>(h));
  return {text, static_cast<std::size_t>(n)};
}

OpenFile::OpenFile(int fd, const struct stat& st)
    : fd_(fd),
      kind_(S_ISREG(st.st_mode) ? Kind::regular : Kind::directory),
      size_(static_cast<std::uint64_t>(st.st_size)),
      mtime_s_(st.st_mtim.tv_sec),
      mtime_ns_(st.st_mtim.tv_nsec),
      last_modified_time_(std::min<std::int64_t>(st.st_mtim.tv_sec, std::time(nullptr))),
      inode_(st.st_ino),
      device_(st.st_dev) {
  last_modified_.resize(kDateSize);
  format_date(static_cast<std::time_t>(last_modified_time_), last_modified_.data());
  etag_ = etag_of(st, st.st_mtim.tv_sec > std::time(nullptr) - kFresh);
}

OpenFile::~OpenFile() { ::close(fd_); }

bool OpenFile::same_as(const OpenFile& o) const noexcept {
  return kind_ == o.kind_ && size_ == o.size_ && mtime_s_ == o.mtime_s_ && mtime_ns_ == o.mtime_ns_ &&
         inode_ == o.inode_ && device_ == o.device_ && etag_ == o.etag_;
}

Result<std::unique_ptr<FileRoot>> FileRoot::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return fail_errno(-errno);
  return std::unique_ptr<FileRoot>(new FileRoot(fd));
}

FileRoot::~FileRoot() { ::close(fd_); }

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

Result<std::shared_ptr<const OpenFile>> FileRoot::open_below(const std::string& path) const {
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
      fd = static_cast<int>(syscall(SYS_openat2, fd_, name.c_str(), &how, sizeof how));
      if (fd >= 0 || errno != EAGAIN) break;
    }
    if (fd < 0 && errno == ENOSYS) no_openat2.store(true, std::memory_order_relaxed);
    // EPERM is what some container sandboxes say for system calls they do not know.
    if (fd < 0 && (errno == ENOSYS || errno == EPERM)) fd = open_by_component(fd_, name);
  } else {
    fd = open_by_component(fd_, name);
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
  return std::make_shared<const OpenFile>(fd, st);
}

}  // namespace fiberd::http

// Files are sent by sendfile from descriptors that stay open. The page cache decides whether that blocks the thread: a
// cold page would stall a Processor and everybody on it for a disk's seek. So each piece is probed by a one-byte
// preadv2(RWF_NOWAIT) at its two ends; where that says "not now" the piece is read through on the blocking pool first.
// A file that was found warm is not probed again for a second.
#include "core/http/files.hpp"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "core/base/log.hpp"
#include "core/http/file_cache.hpp"
#include "core/http/mime.hpp"
#include "core/runtime/blocking.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http {

namespace {

constexpr std::uint64_t kPiece = std::uint64_t{1} << 20U;
constexpr std::int64_t kWarm = 1'000'000'000;

bool hidden(std::string_view path) noexcept {
  for (std::size_t at = 0; at < path.size(); ++at) {
    const bool begins = at == 0 || path[at - 1] == '/';
    if (begins && path[at] == '.' && !(at == 0 && (path == ".well-known" || path.starts_with(".well-known/"))))
      return true;
  }
  return false;
}

[[gnu::noinline]] bool in_memory(int fd, std::uint64_t offset) noexcept {
  char byte = 0;
  const iovec part{&byte, 1};
  const ssize_t n = preadv2(fd, &part, 1, static_cast<off_t>(offset), RWF_NOWAIT);
  // Only EAGAIN says "it would block"; file systems that do not know the flag are taken as they are.
  return n >= 0 || errno != EAGAIN;
}

/// On the blocking pool: brings a piece into the page cache.
[[gnu::noinline]] void read_through(int fd, std::uint64_t offset, std::uint64_t count) noexcept {
  std::array<char, 64 * 1024> scratch;
  while (count != 0) {
    const ssize_t n =
        pread(fd, scratch.data(), std::min<std::uint64_t>(count, scratch.size()), static_cast<off_t>(offset));
    if (n <= 0) return;  // sendfile will meet the same trouble and report it
    offset += static_cast<std::uint64_t>(n);
    count -= static_cast<std::uint64_t>(n);
  }
}

class FilesHandler final : public Handler {
 public:
  FilesHandler(std::unique_ptr<FileRoot> root, FilesOptions options)
      : options_(std::move(options)), root_(std::move(root)), cache_(*root_, options_.open_files) {}

  std::error_code serve(Exchange& ex) override {
    const Request& request = ex.request();
    if (request.method != Method::get && request.method != Method::head) {
      static constexpr Field kAllow{"Allow", "GET, HEAD"};
      return ex.respond(405, "text/plain; charset=utf-8", "405 Method Not Allowed\n", {&kAllow, 1});
    }
    std::string_view path = ex.rest();
    while (path.starts_with('/')) path.remove_prefix(1);
    if (hidden(path)) return not_found(ex);
    const bool as_directory = path.empty() || path.ends_with('/');
    if (as_directory) return serve_index(ex, path);
    const auto entry = cache_.get(path);
    if (!entry) return refuse(ex, path, entry.error());
    if ((*entry)->file->kind() == OpenFile::Kind::directory) return redirect(ex);
    return send(ex, **entry);
  }

 private:
  static std::error_code not_found(Exchange& ex) {
    return ex.respond(404, "text/plain; charset=utf-8", "404 Not Found\n");
  }
  std::error_code refuse(Exchange& ex, std::string_view path, std::error_code error) {
    if (error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory) return not_found(ex);
    if (error == std::errc::permission_denied) return ex.respond(403, "text/plain; charset=utf-8", "403 Forbidden\n");
    log(LogLevel::error, "files: " + options_.root + "/" + std::string(path) + ": " + error.message());
    return ex.respond(500, "text/plain; charset=utf-8", "500 Internal Server Error\n");
  }
  /// To the name with a slash, relative to the request: a target that begins with "//" can not become another host.
  static std::error_code redirect(Exchange& ex) {
    const Request& request = ex.request();
    const std::string_view raw = request.path;
    std::string location = "./" + std::string(raw.substr(raw.rfind('/') + 1)) + "/";
    if (!request.query.empty()) location += "?" + std::string(request.query);
    const Field field{"Location", location};
    return ex.respond(301, "text/plain; charset=utf-8", "301 Moved Permanently\n", {&field, 1});
  }
  std::error_code serve_index(Exchange& ex, std::string_view directory) {
    for (const std::string& name : options_.index) {
      const auto entry = cache_.get(std::string(directory) + name);
      if (entry && (*entry)->file->kind() == OpenFile::Kind::regular) return send(ex, **entry);
      if (!entry && entry.error() != std::errc::no_such_file_or_directory) return refuse(ex, directory, entry.error());
    }
    return not_found(ex);
  }
  static std::error_code send(Exchange& ex, FileCache::Entry& entry) {
    const OpenFile& file = *entry.file;
    const Field modified{"Last-Modified", file.last_modified()};
    if (const std::error_code error = ex.begin(
            {.content_length = file.size(), .content_type = media_type_for(entry.path), .fields = {&modified, 1}}))
      return error;
    if (ex.request().method == Method::head) return ex.end();
    const bool warm = runtime::coarse_now() < entry.warm_until.load(std::memory_order_relaxed);
    bool all_warm = true;
    for (std::uint64_t offset = 0; offset < file.size();) {
      const std::uint64_t count = std::min(kPiece, file.size() - offset);
      if (!warm && !(in_memory(file.fd(), offset) && in_memory(file.fd(), offset + count - 1))) {
        all_warm = false;
        runtime::blocking([&] { read_through(file.fd(), offset, count); });
      }
      if (const std::error_code error = ex.write_file(file.fd(), offset, count)) return error;
      offset += count;
    }
    if (!warm && all_warm) entry.warm_until.store(runtime::coarse_now() + kWarm, std::memory_order_relaxed);
    return ex.end();
  }

  FilesOptions options_;
  std::unique_ptr<FileRoot> root_;
  FileCache cache_;
};

}  // namespace

Result<std::shared_ptr<Handler>> make_files_handler(FilesOptions options) {
  Result<std::unique_ptr<FileRoot>> root = FileRoot::open(options.root);
  if (!root) return fail(root.error());
  return std::shared_ptr<Handler>(std::make_shared<FilesHandler>(std::move(*root), std::move(options)));
}

}  // namespace fiberd::http

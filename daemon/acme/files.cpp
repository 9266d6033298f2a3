#include "daemon/acme/files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>

#include "core/base/characters.hpp"
#include "core/base/printable.hpp"
#include "core/tls/jose.hpp"

namespace fiberd::daemon::acme {

namespace {

int write_all(int fd, std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return 0;
}

int sync_directory(const std::string& path) noexcept {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno;
  const int error = ::fsync(fd) != 0 ? errno : 0;
  ::close(fd);
  return error;
}

/// A file beside another, whole; empty: it is gone again, and `error` says why.
std::string write_beside(const std::string& path, std::string_view text, Lasting lasting, int& error) {
  std::string beside = path + ".XXXXXX";
  const int fd = ::mkostemp(beside.data(), O_CLOEXEC);  // 0600
  error = fd < 0 ? errno : write_all(fd, text);
  if (fd < 0) return {};
  if (error == 0 && lasting == Lasting::yes && ::fsync(fd) != 0) error = errno;
  if (::close(fd) != 0 && error == 0) error = errno;
  if (error == 0) return beside;
  (void)::unlink(beside.c_str());
  return {};
}

}  // namespace

tl::unexpected<Trouble> storage_failed(const std::string& what, const std::string& path, int error) {
  return give_up(Reason::storage, what + " " + printable(path, 512) + ": " + std::system_category().message(error));
}

std::string digest_of(std::string_view text) {
  const Result<std::string> digest = tls::sha256(text);
  std::string hex;
  for (const char c : digest.value_or(std::string(8, '0')).substr(0, 8)) {
    hex += ascii::kHexDigits[static_cast<unsigned char>(c) >> 4U];
    hex += ascii::kHexDigits[static_cast<unsigned char>(c) & 15U];
  }
  return hex;
}

Outcome<void> write_file(const std::string& path, std::string_view text, Lasting lasting) {
  int error = 0;
  const std::string beside = write_beside(path, text, lasting, error);
  if (beside.empty()) return storage_failed("cannot write beside", path, error);
  if (::rename(beside.c_str(), path.c_str()) != 0) {
    error = errno;
    (void)::unlink(beside.c_str());
    return storage_failed("cannot write", path, error);
  }
  if (lasting == Lasting::no) return {};
  error = sync_directory(path.substr(0, path.rfind('/')));
  return error != 0 ? storage_failed("cannot sync the directory of", path, error) : Outcome<void>();
}

Outcome<void> has_room_beside(const std::string& path, std::size_t bytes) {
  int error = 0;
  const std::string beside = write_beside(path, std::string(bytes, '\0'), Lasting::yes, error);
  if (beside.empty()) return storage_failed("no room for a certificate beside", path, error);
  if (::unlink(beside.c_str()) != 0) return storage_failed("cannot remove", beside, errno);
  return {};
}

Outcome<void> make_directory(const std::string& path) {
  // Those above it are whoever's: made as they need to be, if they are not there.
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1))
    if (::mkdir(path.substr(0, at).c_str(), 0755) != 0 && errno != EEXIST)
      return storage_failed("cannot make the directory", path.substr(0, at), errno);
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return storage_failed("cannot make the directory", path, errno);
  struct stat is {};
  if (::stat(path.c_str(), &is) != 0) return storage_failed("cannot look at", path, errno);
  if (!S_ISDIR(is.st_mode)) return storage_failed("is no directory:", path, ENOTDIR);
  if ((is.st_mode & 077U) != 0)
    return give_up(Reason::storage,
                   "others can look into " + printable(path, 512) + ", where private keys are kept: chmod 700 it");
  if (is.st_uid != ::geteuid() && ::geteuid() != 0)
    return give_up(Reason::storage, printable(path, 512) + " belongs to another user: chown it to this one");
  return {};
}

}  // namespace fiberd::daemon::acme

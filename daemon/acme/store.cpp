#include "daemon/acme/store.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <system_error>
#include <utility>

#include "core/base/characters.hpp"
#include "core/base/printable.hpp"
#include "core/base/read_file.hpp"
#include "core/tls/jose.hpp"

namespace fiberd::daemon::acme {

namespace {

constexpr std::size_t kMostFile = std::size_t{512} * 1024;

tl::unexpected<Trouble> failed(const std::string& what, const std::string& path, int error) {
  return give_up(Reason::storage, what + " " + printable(path, 512) + ": " + std::system_category().message(error));
}

/// Letters, digits, dots and hyphens of a name that may be anything.
std::string as_file_name(std::string_view text) {
  std::string name;
  for (const char c : text.substr(0, 96)) name += ascii::is_alnum(c) || c == '.' || c == '-' ? ascii::to_lower(c) : '_';
  if (name.starts_with('.')) name.front() = '_';
  return name;
}

/// A few digits of a hash: two texts of one file name are two files.
std::string digest_of(std::string_view text) {
  const Result<std::string> digest = tls::sha256(text);
  std::string hex;
  for (const char c : digest.value_or(std::string(8, '0')).substr(0, 8)) {
    hex += ascii::kHexDigits[static_cast<unsigned char>(c) >> 4U];
    hex += ascii::kHexDigits[static_cast<unsigned char>(c) & 15U];
  }
  return hex;
}

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

/// A file beside another, whole and synced; empty: it is gone again, and `error` says why.
std::string write_beside(const std::string& path, std::string_view text, int& error) {
  std::string beside = path + ".XXXXXX";
  const int fd = ::mkostemp(beside.data(), O_CLOEXEC);  // 0600
  error = fd < 0 ? errno : write_all(fd, text);
  if (fd < 0) return {};
  if (error == 0 && ::fsync(fd) != 0) error = errno;
  if (::close(fd) != 0 && error == 0) error = errno;
  if (error == 0) return beside;
  (void)::unlink(beside.c_str());
  return {};
}

/// All of it is there, on the disk, under its name; or nothing has changed.
Outcome<void> write_file(const std::string& path, std::string_view text) {
  int error = 0;
  const std::string beside = write_beside(path, text, error);
  if (beside.empty()) return failed("cannot write beside", path, error);
  if (::rename(beside.c_str(), path.c_str()) != 0) {
    error = errno;
    (void)::unlink(beside.c_str());
    return failed("cannot write", path, error);
  }
  error = sync_directory(path.substr(0, path.rfind('/')));
  return error != 0 ? failed("cannot sync the directory of", path, error) : Outcome<void>();
}

Outcome<void> make_directory(const std::string& path) {
  // Those above it are whoever's: made as they need to be, if they are not there.
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1))
    if (::mkdir(path.substr(0, at).c_str(), 0755) != 0 && errno != EEXIST)
      return failed("cannot make the directory", path.substr(0, at), errno);
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return failed("cannot make the directory", path, errno);
  struct stat is {};
  if (::stat(path.c_str(), &is) != 0) return failed("cannot look at", path, errno);
  if (!S_ISDIR(is.st_mode)) return failed("is no directory:", path, ENOTDIR);
  if ((is.st_mode & 077U) != 0)
    return give_up(Reason::storage,
                   "others can look into " + printable(path, 512) + ", where private keys are kept: chmod 700 it");
  if (is.st_uid != ::geteuid() && ::geteuid() != 0)
    return give_up(Reason::storage, printable(path, 512) + " belongs to another user: chown it to this one");
  return {};
}

}  // namespace

StoreLock& StoreLock::operator=(StoreLock&& o) noexcept {
  std::swap(fd_, o.fd_);
  return *this;
}

StoreLock::~StoreLock() {
  if (fd_ >= 0) ::close(fd_);
}

Store::Store(std::string directory, const std::string& authority)
    : directory_(std::move(directory)),
      authority_(directory_ + "/" +
                 as_file_name(authority.substr(std::min(authority.size(), authority.find("://") + 3))) + "-" +
                 digest_of(authority)) {}

std::string Store::base_of(const std::vector<std::string>& names) const {
  std::vector<std::string> sorted = names;
  std::sort(sorted.begin(), sorted.end());
  std::string all;
  for (const std::string& name : sorted) all += name + ",";
  return authority_ + "/" + as_file_name(names.front()) + "-" + digest_of(all);
}

std::string Store::path_of(const std::vector<std::string>& names) const { return base_of(names) + ".pem"; }

Outcome<void> Store::open() const {
  if (Outcome<void> made = make_directory(directory_); !made) return made;
  return make_directory(authority_);
}

Outcome<StoreLock> Store::try_lock() const {
  const std::string path = directory_ + "/lock";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return failed("cannot open", path, errno);
  StoreLock lock(fd);
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK) return StoreLock();
  return failed("cannot lock", path, errno);
}

Outcome<tls::PrivateKey> Store::account_key() const {
  const std::string path = authority_ + "/account.pem";
  const Result<std::string> text = read_file(path, kMostFile);
  if (text) {
    const Result<tls::PrivateKey> key = tls::PrivateKey::from_pem(*text);
    if (key) return *key;
    // Not replaced: whoever wrote it may need it, and an account that is lost cannot be found again.
    return give_up(Reason::storage,
                   printable(path, 512) + " holds no ECDSA key on P-256: take it away, and a new account is made");
  }
  if (text.error() != std::errc::no_such_file_or_directory)
    return give_up(Reason::storage, "cannot read " + printable(path, 512) + ": " + why_unreadable(text.error()));
  const Result<tls::PrivateKey> made = tls::PrivateKey::make();
  const Result<std::string> pem = made ? made->to_pem() : fail(made.error());
  if (!pem) return give_up(Reason::storage, "no key can be made: " + pem.error().message());
  if (const Outcome<void> kept = write_file(path, *pem); !kept) return give_up(kept.error());
  return *made;
}

std::string Store::account_url() const {
  const Result<std::string> text = read_file(authority_ + "/account.url", 4096);
  return text ? text->substr(0, text->find('\n')) : std::string();
}

Outcome<void> Store::keep_account_url(const std::string& url) const {
  return write_file(authority_ + "/account.url", url + "\n");
}

void Store::forget_account() const noexcept {
  try {
    (void)::unlink((authority_ + "/account.url").c_str());
    (void)::rename((authority_ + "/account.pem").c_str(), (authority_ + "/account.pem.old").c_str());
  } catch (const std::bad_alloc&) {  // it is refused again then
  }
}

std::optional<Issued> Store::certificate(const std::vector<std::string>& names) const {
  static constexpr std::string_view kCertificate = "-----BEGIN CERTIFICATE-----";
  const Result<std::string> text = read_file(path_of(names), kMostFile);
  const std::size_t at = text ? text->find(kCertificate) : std::string::npos;
  if (at == std::string::npos) return std::nullopt;
  return Issued{text->substr(at), text->substr(0, at)};
}

Outcome<void> Store::keep(const std::vector<std::string>& names, const Issued& issued) const {
  return write_file(path_of(names), issued.key + issued.chain);
}

Outcome<void> Store::has_room() const {
  static constexpr std::size_t kRoom = std::size_t{64} * 1024;  // more than a chain, its key and what is noted of it
  const std::string path = authority_ + "/room";
  int error = 0;
  const std::string beside = write_beside(path, std::string(kRoom, '\0'), error);
  if (beside.empty()) return failed("no room for a certificate beside", path, error);
  if (::unlink(beside.c_str()) != 0) return failed("cannot remove", beside, errno);
  return {};
}

/// "FAILURES TIME WHY".
Attempts Store::attempts(const std::vector<std::string>& names) const {
  const Result<std::string> text = read_file(base_of(names) + ".state", 4096);
  if (!text) return {};
  Attempts a;
  const char* const end = text->data() + text->size();
  const auto [count_end, no_count] = std::from_chars(text->data(), end, a.failures);
  if (no_count != std::errc{} || count_end == end) return {};
  const auto [time_end, no_time] = std::from_chars(count_end + 1, end, a.not_before);
  if (no_time != std::errc{}) return {};
  const std::string_view rest(time_end, static_cast<std::size_t>(end - time_end));
  a.why = printable(ascii::trim(rest.substr(0, rest.find('\n'))), 1024);
  return a;
}

Outcome<void> Store::keep(const std::vector<std::string>& names, const Attempts& attempts) const {
  const std::string path = base_of(names) + ".state";
  if (attempts == Attempts{}) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return failed("cannot remove", path, errno);
    return {};
  }
  return write_file(
      path, std::to_string(attempts.failures) + " " + std::to_string(attempts.not_before) + " " + attempts.why + "\n");
}

}  // namespace fiberd::daemon::acme

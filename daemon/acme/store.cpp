#include "daemon/acme/store.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

#include "core/base/characters.hpp"
#include "core/base/printable.hpp"
#include "core/base/read_file.hpp"
#include "daemon/acme/files.hpp"

namespace fiberd::daemon::acme {

namespace {

constexpr std::size_t kMostFile = std::size_t{512} * 1024;

/// Letters, digits, dots and hyphens of a name that may be anything.
std::string as_file_name(std::string_view text) {
  std::string name;
  for (const char c : text.substr(0, 96)) name += ascii::is_alnum(c) || c == '.' || c == '-' ? ascii::to_lower(c) : '_';
  if (name.starts_with('.')) name.front() = '_';
  return name;
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
  if (fd < 0) return storage_failed("cannot open", path, errno);
  StoreLock lock(fd);
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK) return StoreLock();
  return storage_failed("cannot lock", path, errno);
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

/// "URL", and of one that was made in another's place "SECONDS" in a second line.
Account Store::account() const {
  const Result<std::string> text = read_file(authority_ + "/account.url", 4096);
  if (!text) return {};
  Account account{text->substr(0, text->find('\n'))};
  const std::size_t second = std::min(account.url.size() + 1, text->size());
  if (std::from_chars(text->data() + second, text->data() + text->size(), account.replaced).ec != std::errc{})
    account.replaced = 0;
  return account;
}

Outcome<void> Store::keep(const Account& account) const {
  std::string text = account.url + "\n";
  if (account.replaced != 0) text += std::to_string(account.replaced) + "\n";
  return write_file(authority_ + "/account.url", text);
}

Outcome<void> Store::forget_account(std::int64_t now) const {
  const std::string key = authority_ + "/account.pem";
  // Kept: what was bound to it elsewhere can be had by it alone.
  const std::string old = key + ".old-" + std::to_string(now);
  if (::rename(key.c_str(), old.c_str()) != 0) return storage_failed("cannot put away", key, errno);
  const std::string url = authority_ + "/account.url";
  if (::unlink(url.c_str()) != 0 && errno != ENOENT) return storage_failed("cannot remove", url, errno);
  return {};
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
  return has_room_beside(authority_ + "/room", kRoom);
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
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return storage_failed("cannot remove", path, errno);
    return {};
  }
  return write_file(
      path, std::to_string(attempts.failures) + " " + std::to_string(attempts.not_before) + " " + attempts.why + "\n");
}

}  // namespace fiberd::daemon::acme

#include "core/http/filters/htpasswd.hpp"

#include <crypt.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "core/base/constant_time.hpp"
#include "core/base/read_file.hpp"
#include "core/http/characters.hpp"

namespace fiberd::http {
namespace {

constexpr std::size_t kBcryptBytes = 72;

/// What crypt(3) writes its hashes in, and bcrypt too.
bool is_hash_text(std::string_view s) noexcept {
  return std::all_of(s.begin(), s.end(), [](char c) { return is_alnum(c) || c == '.' || c == '/'; });
}

bool is_bcrypt(std::string_view hash) noexcept { return hash.starts_with("$2y$") || hash.starts_with("$2b$"); }

/// The last part of "$id$…$part" has `size` characters of a hash.
bool ends_in(std::string_view hash, std::size_t size) noexcept {
  const std::string_view last = hash.substr(hash.rfind('$') + 1);
  return last.size() == size && is_hash_text(last);
}

/// Empty when it is a hash that we take; else what is wrong.
std::string_view wrong_with(const std::string& hash) noexcept {
  if (is_bcrypt(hash)) {
    const bool whole = hash.size() == 60 && hash[6] == '$' && is_hash_text(std::string_view(hash).substr(7));
    const bool digits = whole && is_class(hash[4], chars::kDigit) && is_class(hash[5], chars::kDigit);
    if (!digits) return "the bcrypt hash is not whole";
    const int cost = (hash[4] - '0') * 10 + hash[5] - '0';
    if (cost < 4 || cost > 17) return "a bcrypt cost below 4 is none, and one above 17 takes a minute";
    return {};
  }
  if (hash.starts_with("$y$")) {
    if (!ends_in(hash, 43) || std::count(hash.begin(), hash.end(), '$') != 4) return "the yescrypt hash is not whole";
  } else if (hash.starts_with("$6$")) {
    if (!ends_in(hash, 86)) return "the SHA-512-crypt hash is not whole";
  } else if (hash.starts_with("$apr1$") || hash.starts_with("$1$")) {
    return "this is an MD5 hash, which is found out in no time: use bcrypt (htpasswd -B)";
  } else if (hash.starts_with("{SHA}") || hash.starts_with("{SSHA}")) {
    return "this is a SHA-1 hash, which is found out in no time: use bcrypt (htpasswd -B)";
  } else if (hash.starts_with('$') || hash.starts_with('{')) {
    return "this kind of hash is not known here: use bcrypt (htpasswd -B), yescrypt or SHA-512-crypt";
  } else if (hash.size() == 13 && is_hash_text(hash)) {
    return "this is a DES hash, which is found out in no time: use bcrypt (htpasswd -B)";
  } else {
    return "this is a password in the clear, or no hash: use bcrypt (htpasswd -B)";
  }
  if (crypt_checksalt(hash.c_str()) != CRYPT_SALT_OK) return "the C library does not take this hash";
  return {};
}

}  // namespace

Result<std::shared_ptr<const Htpasswd>> Htpasswd::parse(std::string_view text, std::string* why) {
  std::shared_ptr<Htpasswd> made(new Htpasswd);
  std::size_t line_number = 0;
  const auto refuse = [&](std::string_view sentence) {
    if (why != nullptr) *why = "line " + std::to_string(line_number) + ": " + std::string(sentence);
    return fail(std::errc::invalid_argument);
  };
  while (!text.empty()) {
    ++line_number;
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    line = trim(line);
    if (line.empty() || line.front() == '#') continue;
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0) return refuse("\"user:hash\" is expected");
    std::string_view hash = line.substr(colon + 1);
    hash = hash.substr(0, hash.find(':'));
    User user{std::string(line.substr(0, colon)), std::string(hash)};
    if (user.hash.find('\0') != std::string::npos) return refuse("a NUL byte in the hash");
    if (const std::string_view wrong = wrong_with(user.hash); !wrong.empty()) return refuse(wrong);
    made->users_.push_back(std::move(user));
  }
  // The names do not move any more.
  line_number = 0;
  for (std::size_t i = 0; i < made->users_.size(); ++i)
    if (!made->by_name_.emplace(made->users_[i].name, i).second) {
      if (why != nullptr) *why = "the user " + made->users_[i].name + " stands twice";
      return fail(std::errc::invalid_argument);
    }
  return made;
}

Result<std::shared_ptr<const Htpasswd>> Htpasswd::read(const std::string& path, std::string* why) {
  const Result<std::string> text = read_file(path, kMaxFile + 1);
  const std::error_code error = !text                     ? text.error()
                                : text->size() > kMaxFile ? std::make_error_code(std::errc::file_too_large)
                                                          : std::error_code();
  if (error) {
    if (why != nullptr) *why = why_unreadable(error);
    return fail(error);
  }
  return parse(*text, why);
}

Result<bool> Htpasswd::verify(std::string_view user, const std::string& password) const {
  if (users_.empty()) return false;
  const auto found = by_name_.find(user);
  const bool known = found != by_name_.end();
  const std::string& hash = users_[known ? found->second : key_.of(user, 1) % users_.size()].hash;
  // What the hash would not look at to its end is wrong, and takes as long.
  const bool whole = password.size() < CRYPT_MAX_PASSPHRASE_SIZE && password.find('\0') == std::string::npos &&
                     (!is_bcrypt(hash) || password.size() <= kBcryptBytes);
  const std::unique_ptr<crypt_data> data(new (std::nothrow) crypt_data());
  if (data == nullptr) return fail(std::errc::not_enough_memory);
  const char* const made = ::crypt_r(whole ? password.c_str() : "", hash.c_str(), data.get());
  const bool equal = made != nullptr && made[0] != '*' && equal_in_constant_time(made, hash);
  ::explicit_bzero(data.get(), sizeof *data);
  return equal && known && whole;
}

}  // namespace fiberd::http

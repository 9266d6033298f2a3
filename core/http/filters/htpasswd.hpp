#pragma once
// Password files as htpasswd writes them: a line "user:hash" each.
//
// Hashes are those that cost whoever steals the file something: bcrypt ($2y$, $2b$), yescrypt ($y$) and SHA-512-crypt
// ($6$), checked by crypt_r(3) of libxcrypt. MD5 (apr1, $1$), {SHA}, DES and passwords in the clear are refused when
// the file is read, each by its name: a file that looks like protection and is none is worse than an error.
//
// An unknown user costs what a known one does: the password is checked against the hash of one of the file's users,
// chosen by a keyed hash of the name that was asked for, and the answer is no. So the time that is taken tells nothing:
// over unknown names the costs are spread as over known ones, and the same name always costs the same.
//
// bcrypt looks at 72 bytes and no further: a longer password is refused against it, else each with the same beginning
// would be as good.
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/base/keyed_hash.hpp"
#include "core/base/result.hpp"

namespace fiberd::http {

/// Immutable once made; any number of threads may verify at once.
class Htpasswd {
 public:
  static constexpr std::size_t kMaxFile = std::size_t{16} * 1024 * 1024;

  /// Of a file's text. Empty lines and those that begin with '#' are skipped; what stands behind a second colon is not
  /// looked at. Error invalid_argument: `why`, if given, says the line and what is wrong with it, and nothing of any
  /// hash. Throws std::bad_alloc.
  [[nodiscard]] static Result<std::shared_ptr<const Htpasswd>> parse(std::string_view text, std::string* why = nullptr);
  /// Reads the file: blocks. Errors also: the system's; file_too_large beyond kMaxFile.
  [[nodiscard]] static Result<std::shared_ptr<const Htpasswd>> read(const std::string& path,
                                                                    std::string* why = nullptr);

  /// Whether this is the user's password. Takes as long as the hash was made to take, some 1 … 1,000 ms of CPU, so it
  /// belongs on the blocking pool. Error: not_enough_memory.
  [[nodiscard]] Result<bool> verify(std::string_view user, const std::string& password) const;

  [[nodiscard]] std::size_t size() const noexcept { return users_.size(); }

 private:
  struct User {
    std::string name;
    std::string hash;
  };
  struct NameHash {
    using is_transparent = void;
    const KeyedHash* key;
    std::size_t operator()(std::string_view name) const noexcept { return key->of(name); }
  };
  Htpasswd() = default;

  KeyedHash key_;
  std::vector<User> users_;
  std::unordered_map<std::string_view, std::size_t, NameHash> by_name_{0, NameHash{&key_}};
};

}  // namespace fiberd::http

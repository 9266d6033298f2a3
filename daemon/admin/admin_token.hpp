#pragma once
// AdminToken: what a client of the admin listener must know, from admin.token_file.
//
// The file is read when a configuration is loaded, and looked at again, once a second at most, when somebody comes with
// a token that is wrong: so who replaces the file need not tell the daemon. From then on the old token is wrong. While
// the file cannot be read, or is none, the last one stays: nobody is locked out, or let in, by a mistake.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/lock.hpp"
#include "core/base/result.hpp"
#include "core/http/filters/basic_credentials.hpp"

namespace fiberd::daemon {

inline constexpr std::size_t kLeastToken = 16;    ///< bytes
inline constexpr std::size_t kMostToken = 4'096;  ///< bytes

/// The token in `file`, without the end of its line. Blocks the thread. Error: what reading said, or invalid_argument;
/// `why`: a sentence without anything of the file's text. Throws std::bad_alloc.
[[nodiscard]] Result<std::shared_ptr<const http::Secret>> read_token(const std::string& file, std::string& why);
/// What is to be said of a file that everybody may read; empty: nothing.
[[nodiscard]] std::string warn_of_token_file(const std::string& file);

/// Thread-safe.
class AdminToken {
 public:
  /// As read_token.
  [[nodiscard]] static Result<std::shared_ptr<AdminToken>> open(const std::string& file, std::string& why);
  AdminToken(const AdminToken&) = delete;
  AdminToken& operator=(const AdminToken&) = delete;

  /// In a time that does not depend on the token. Never parks.
  [[nodiscard]] bool is(std::string_view given) const noexcept;
  /// Whether it is time to look at the file again, and then nobody else is told so for a second. `now`: monotonic ns.
  [[nodiscard]] bool due(std::int64_t now) noexcept;
  /// Looks at it. Blocks the thread. What is wrong with it is logged, once. Throws std::bad_alloc.
  void look();

 private:
  AdminToken(std::string file, std::shared_ptr<const http::Secret> token)
      : file_(std::move(file)), token_(std::move(token)) {}
  const std::string file_;
  std::atomic<std::int64_t> next_look_{0};
  mutable Lock lock_;
  std::shared_ptr<const http::Secret> token_ FIBERD_GUARDED_BY(lock_);
  std::string said_ FIBERD_GUARDED_BY(lock_);  // what is wrong with the file
};

}  // namespace fiberd::daemon

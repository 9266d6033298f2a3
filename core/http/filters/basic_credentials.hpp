#pragma once
// Credentials of the Basic scheme (RFC 7617): who a client says it is.
#include <string>
#include <string_view>

#include "core/base/result.hpp"

namespace fiberd::http {

/// A password in memory, overwritten when it dies. Not copied.
class Secret {
 public:
  Secret() noexcept = default;
  explicit Secret(std::string text) noexcept : text_(std::move(text)) {}
  Secret(Secret&& o) noexcept : text_(std::move(o.text_)) { o.wipe(); }
  Secret& operator=(Secret&& o) noexcept {
    if (this != &o) {
      wipe();
      text_ = std::move(o.text_);
      o.wipe();
    }
    return *this;
  }
  ~Secret() { wipe(); }
  [[nodiscard]] const std::string& text() const noexcept { return text_; }

 private:
  void wipe() noexcept;
  std::string text_;
};

struct BasicCredentials {
  std::string user;
  Secret password;
};

/// Longest user name and longest password that are looked at, in bytes. (What crypt(3) hashes is shorter still.)
inline constexpr std::size_t kMaxUser = 256;
inline constexpr std::size_t kMaxPassword = 512;

/// Of the value of an Authorization field: "Basic " and the base64 (RFC 4648 section 4, padded) of user ":" password.
/// The user has no colon; control characters and NUL are refused in both (RFC 7617 section 2). Errors: invalid_argument
/// (not such credentials), message_size. Throws std::bad_alloc.
[[nodiscard]] Result<BasicCredentials> parse_basic_credentials(std::string_view authorization);

}  // namespace fiberd::http

#pragma once
// Which Cache-Control an answer gets, by what it is: `{".css": "max-age=86400", "image/*": "max-age=604800"}`.
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"

namespace fiberd::http {

/// `match`: an extension (".css", ".tar.gz"), a media type ("text/css", "image/*"), or "*" for all the rest.
struct CacheRule {
  std::string match;
  std::string value;  ///< of Cache-Control (RFC 9111 section 5.2)
};

/// Immutable once made.
class CacheRules {
 public:
  CacheRules() noexcept = default;
  /// Error invalid_argument: `why`, if given, says which rule is none. Throws std::bad_alloc.
  [[nodiscard]] static Result<CacheRules> make(std::vector<CacheRule> rules, std::string* why = nullptr);

  /// The first rule that fits, or empty. An extension is that of the path's last segment, in any case; a path that ends
  /// in '/' has none.
  [[nodiscard]] std::string_view find(std::string_view path, std::string_view content_type) const noexcept;
  /// 200, 203, 206 and 304: what is there. An extension says nothing about an error, nor about a redirect.
  [[nodiscard]] static bool applies_to(unsigned status) noexcept;

 private:
  std::vector<CacheRule> rules_;
};

}  // namespace fiberd::http

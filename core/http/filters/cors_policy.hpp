#pragma once
// Cross-origin resource sharing (the Fetch standard, "CORS protocol"): which pages of other sites may read our answers,
// as a pure function of a request's fields.
//
// The browser enforces it; a server says what is allowed. So a request from an origin that is not allowed is served as
// any other, without the fields that would let its page see the answer: curl needs no permission. A preflight is the
// browser's question whether it may send at all, and is answered here, yes or no.
//
// Decisions
//  - An origin is compared byte by byte as the browser writes it: scheme, host, port if it is not the scheme's own. A
//    pattern is "*." for one or more whole labels in front: "https://*.example.com" is a.example.com and
//    a.b.example.com and not example.com, nor notexample.com.
//  - "null" (files, sandboxed frames: anybody's) is allowed by no list but "*".
//  - With credentials the standard forbids "*" everywhere, and an origin list of "*" would give every site's page the
//    user's cookies: refused when the policy is made. Headers "*" with credentials means: those that were asked for.
//  - Vary: Origin is on every answer, also to requests without Origin, unless the answer is the same for all: a shared
//    cache must not hand the answer for one origin to another.
//  - Access-Control-Request-Private-Network is not granted: a page on the internet has no business here.
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "core/http/message.hpp"

namespace fiberd::http {

struct CorsOptions {
  /// "https://a.example", "https://*.example.com", "http://localhost:3000", or "*" alone.
  std::vector<std::string> origins;
  /// Beyond GET, HEAD and POST, which need no permission. "*": every one, without credentials only.
  std::vector<std::string> methods{};
  /// Request fields beyond the safelisted ones. "*": every one (the standard leaves Authorization out: name it too).
  std::vector<std::string> headers{};
  /// Answer fields that scripts may read. "*": every one, without credentials only.
  std::vector<std::string> expose{};
  bool credentials = false;
  /// How long a browser may keep a preflight's yes; none: its own 5 s. Browsers hold it to two hours at most.
  std::chrono::seconds max_age{600};
};

struct CorsDecision {
  enum class Kind : std::uint8_t {
    none,         ///< no cross-origin request: nothing to say but Vary
    allowed,      ///< to be served, with the fields below
    refused,      ///< to be served without them: the page will not see the answer
    preflight,    ///< to be answered 204 with the fields below
    no_preflight  ///< to be answered 403
  };
  Kind kind = Kind::none;
  bool vary_origin = false;
  /// Access-Control-Allow-Origin; empty: not allowed. A view of the request or the policy.
  std::string_view allow_origin{};
  /// Of a preflight only.
  std::string allow_headers{};
  /// Why a preflight is refused: "origin", "method", "headers".
  std::string_view reason{};
};

/// Immutable once made.
class CorsPolicy {
 public:
  /// The most fields that a preflight may ask for.
  static constexpr std::size_t kMaxAsked = 64;

  /// Error invalid_argument: `why`, if given, says what is wrong. Throws std::bad_alloc.
  [[nodiscard]] static Result<CorsPolicy> make(CorsOptions options, std::string* why = nullptr);

  /// Views in the result hold as long as the policy and the request's head. Throws std::bad_alloc.
  [[nodiscard]] CorsDecision decide(Method method, const HeaderView& headers) const;

  [[nodiscard]] bool allows_origin(std::string_view origin) const noexcept;
  [[nodiscard]] bool credentials() const noexcept { return options_.credentials; }
  /// Ready-made values; empty: the field is left out.
  [[nodiscard]] const std::string& allow_methods() const noexcept { return allow_methods_; }
  [[nodiscard]] const std::string& expose() const noexcept { return expose_; }
  [[nodiscard]] const std::string& max_age() const noexcept { return max_age_; }

 private:
  [[nodiscard]] bool allows_method(std::string_view method) const noexcept;
  /// False: one of them is not allowed, or there are too many. `allowed` becomes the value of the answer.
  [[nodiscard]] bool allows_headers(const HeaderView& headers, std::string& allowed) const;

  CorsOptions options_;
  bool any_origin_ = false;
  bool any_method_ = false;
  bool any_header_ = false;
  std::string allow_methods_;
  std::string expose_;
  std::string max_age_;
};

}  // namespace fiberd::http

#pragma once
// The opening handshake of a WebSocket (RFC 6455 section 4.2, over HTTP/2 RFC 8441): whether a request is one, and what
// is answered where it is not, as a pure function of the request.
//
// A page of any site may open a WebSocket to any other, and the browser sends the user's cookies along: CORS does not
// ask first. The Origin field is all that tells, and only browsers send it truthfully; so `origins` is for browsers'
// users and no access control. Whoever sends none is no browser, and is let in.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "core/http/filters/cors_policy.hpp"
#include "core/http/message.hpp"

namespace fiberd::http {

/// What a request must have; immutable once made.
class WebSocketRules {
 public:
  /// `origins`: "https://a.example", "https://*.a.example", "same" (the request's own host, whatever the scheme); empty
  /// or "*": all. `subprotocols`: tokens. Error invalid_argument: `why`, if given, says what is wrong. Throws
  /// std::bad_alloc.
  [[nodiscard]] static Result<WebSocketRules> make(std::vector<std::string> origins,
                                                   std::vector<std::string> subprotocols, std::string* why = nullptr);

  enum class Verdict : std::uint8_t {
    accepted,
    not_asked,    ///< no upgrade to websocket: 426
    version,      ///< not 13: 426, with Sec-WebSocket-Version
    key,          ///< no Sec-WebSocket-Key, several, or not the base64 of 16 bytes: 400
    subprotocol,  ///< not a list of different tokens: 400
    body,         ///< there is one: 400
    origin,       ///< 403
    count_
  };
  struct Decision {
    Verdict verdict = Verdict::accepted;
    std::string_view key{};          ///< a view of the request; empty over HTTP/2, which has none
    std::string_view subprotocol{};  ///< the first of the client's that is ours; a view of these rules
  };
  [[nodiscard]] Decision decide(const Request& request) const noexcept;

 private:
  WebSocketRules() = default;
  [[nodiscard]] bool allows_origin(const Request& request) const noexcept;
  [[nodiscard]] bool choose(const HeaderView& headers, std::string_view& subprotocol) const noexcept;

  std::vector<CorsPolicy> origins_;  // one, or none where no origin is named
  std::vector<std::string> subprotocols_;
  bool same_ = false;
  bool any_ = true;
};

/// "version", …: for logs and labels.
[[nodiscard]] std::string_view token_of(WebSocketRules::Verdict verdict) noexcept;
/// What is answered; 101 where it is accepted.
[[nodiscard]] unsigned status_of(WebSocketRules::Verdict verdict) noexcept;

}  // namespace fiberd::http

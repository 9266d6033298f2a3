#pragma once
// WireRequest: a request with what HTTP/1 says beside it: the version, how the body is framed, whether the connection
// goes on. Only the codec and the connection know it; handlers see the Request.
#include <cstdint>

#include "core/http/message.hpp"

namespace fiberd::http {

enum class Version : std::uint8_t { http10, http11 };
/// How the end of a request's body is found (RFC 9112 section 6.3). `length` may be zero.
enum class Framing : std::uint8_t { none, length, chunked };

struct WireRequest : Request {
  Version version = Version::http11;
  Framing framing = Framing::none;
  bool keep_alive = true;  ///< RFC 9112 section 9.3
};

}  // namespace fiberd::http

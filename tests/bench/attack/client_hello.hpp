#pragma once
/// A ClientHello that costs who sends it nothing, and who answers it a signature.
#include <string>

namespace attack {

/// A record with a ClientHello of TLS 1.3 (RFC 8446 section 4.1.2): one suite, a share on X25519 that is any 32 bytes,
/// signatures by ECDSA on P-256 and by RSA.
inline std::string client_hello() {
  using namespace std::string_literals;
  const auto with_size = [](std::size_t bytes, const std::string& of) {
    std::string out;
    for (std::size_t i = bytes; i-- > 0;) out.push_back(static_cast<char>(of.size() >> (8 * i)));
    return out + of;
  };
  const auto extension = [&](const std::string& type, const std::string& body) { return type + with_size(2, body); };
  const std::string share = std::string(31, '\x5a') + "\x09";
  const std::string extensions =
      extension("\x00\x00"s, with_size(2, "\x00"s + with_size(2, "localhost"))) +             // server_name
      extension("\x00\x0a"s, with_size(2, "\x00\x1d\x00\x17"s)) +                             // supported_groups
      extension("\x00\x0d"s, with_size(2, "\x04\x03\x08\x04\x04\x01"s)) +                     // signature_algorithms
      extension("\x00\x2b"s, with_size(1, "\x03\x04"s)) +                                     // supported_versions
      extension("\x00\x33"s, with_size(2, "\x00\x1d"s + with_size(2, share))) +               // key_share
      extension("\x00\x10"s, with_size(2, with_size(1, "h2"s) + with_size(1, "http/1.1"s)));  // ALPN
  const std::string body = "\x03\x03"s + std::string(32, '\x33') + with_size(1, std::string(32, '\x44')) +
                           with_size(2, "\x13\x01"s) + with_size(1, "\x00"s) + with_size(2, extensions);
  return "\x16\x03\x01"s + with_size(2, "\x01"s + with_size(3, body));
}

}  // namespace attack

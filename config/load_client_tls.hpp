#pragma once
// TLS of what is asked or told by https.
#include "config/client_tls.hpp"
#include "config/reader.hpp"

namespace fiberd::config {

/// A section with ca, certificate and key. `url`: what is asked by it, and `key` names it: of http:// a section that is
/// written would have no effect.
[[nodiscard]] ClientTlsConfig read_client_tls(const Reader& r, std::string_view url, std::string_view key);

}  // namespace fiberd::config

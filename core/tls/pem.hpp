#pragma once
// Certificates and keys from PEM text into a context.
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "core/tls/session.hpp"

namespace fiberd::tls {

/// The certificate of `certificate`, what follows it as its chain, and its key. Error: invalid_argument.
[[nodiscard]] Result<void> use_identity(ssl_ctx_st& context, std::string_view certificate,
                                        std::string_view key) noexcept;
/// Believes the certificates of `pem`. Error: invalid_argument, also when there is none.
[[nodiscard]] Result<void> trust(ssl_ctx_st& context, std::string_view pem) noexcept;
/// As ALPN writes them: each behind its length. Error: invalid_argument (an empty one, or longer than 255).
[[nodiscard]] Result<std::string> alpn_list(const std::vector<std::string>& protocols);

}  // namespace fiberd::tls

#pragma once
// SslHandle: OpenSSL's state of one connection, owned. Whoever holds one need not include OpenSSL.
#include <memory>

struct ssl_st;
struct ssl_ctx_st;

namespace fiberd::tls {

struct FreeSsl {
  void operator()(ssl_st* session) const noexcept;
  void operator()(ssl_ctx_st* context) const noexcept;
};
using SslHandle = std::unique_ptr<ssl_st, FreeSsl>;
/// What connections have in common.
using SslContextHandle = std::unique_ptr<ssl_ctx_st, FreeSsl>;

}  // namespace fiberd::tls

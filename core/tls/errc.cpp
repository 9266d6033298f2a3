#include "core/tls/errc.hpp"

#include <string>

namespace fiberd::tls {

static std::string_view sentence_of(errc code) noexcept {
  switch (code) {
    case errc::truncated: return "the peer's stream ended without close_notify";
    case errc::ended: return "the peer ended the connection in the middle of the TLS handshake";
    case errc::plain_http: return "a plain HTTP request where TLS is spoken";
    case errc::not_tls: return "no TLS record";
    case errc::version: return "no TLS version in common";
    case errc::cipher: return "no cipher, group or signature algorithm in common";
    case errc::protocol: return "no application protocol in common";
    case errc::server_name: return "nobody here has the name that was asked for";
    case errc::no_certificate: return "the peer has no certificate";
    case errc::certificate: return "the peer's certificate did not verify";
    case errc::alert: return "the peer refused the connection by an alert";
    case errc::hello_too_large: return "the client's hello is too large";
    case errc::malformed: return "malformed TLS";
    case errc::out_of_step: return "a write was not gone on with where it had stopped";
    case errc::count_: break;
  }
  return "unknown";
}

std::string_view token_of(errc code) noexcept {
  switch (code) {
    case errc::truncated: return "truncated";
    case errc::ended: return "ended";
    case errc::plain_http: return "plain_http";
    case errc::not_tls: return "not_tls";
    case errc::version: return "version";
    case errc::cipher: return "cipher";
    case errc::protocol: return "protocol";
    case errc::server_name: return "server_name";
    case errc::no_certificate: return "no_certificate";
    case errc::certificate: return "certificate";
    case errc::alert: return "alert";
    case errc::hello_too_large: return "hello_too_large";
    case errc::malformed: return "malformed";
    case errc::out_of_step: return "out_of_step";
    case errc::count_: break;
  }
  return "unknown";
}

const std::error_category& category() noexcept {
  static const class Category final : public std::error_category {
   public:
    [[nodiscard]] const char* name() const noexcept override { return "fiberd.tls"; }
    [[nodiscard]] std::string message(int value) const override {
      return std::string(sentence_of(static_cast<errc>(value)));
    }
    [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override {
      const auto code = static_cast<errc>(value);
      return code == errc::truncated || code == errc::ended ? std::errc::connection_aborted : std::errc::protocol_error;
    }
  } instance;
  return instance;
}

}  // namespace fiberd::tls

#include "core/http/filters/request_values.hpp"

#include "core/http/filters/request_id.hpp"
#include "core/http/host.hpp"
#include "core/net/tls_peer.hpp"

namespace fiberd::http {

std::string_view scheme_of(const Exchange& exchange) noexcept {
  const ViaProxy* const via = exchange.find_slot<ViaProxy>();
  return via != nullptr && !via->scheme.empty() ? via->scheme : exchange.tls() != nullptr ? "https" : "http";
}

/// What is of the connection.
static std::string_view value_of(const net::TlsPeer& peer, Variable variable) noexcept {
  switch (variable) {
    case Variable::tls_version: return peer.version;
    case Variable::tls_cipher: return peer.cipher;
    case Variable::tls_server_name: return peer.server_name;
    case Variable::client_cert_verified: return peer.verified();
    case Variable::client_cert_subject: return peer.subject;
    case Variable::client_cert_names: return peer.all_names;
    case Variable::client_cert_fingerprint: return peer.fingerprint;
    default: return {};
  }
}

std::string_view RequestValues::value(std::uint8_t id, std::string_view argument) {
  const Request& request = exchange_.request();
  switch (static_cast<Variable>(id)) {
    case Variable::host: return host_without_port(request.host);
    case Variable::path: return exchange_.path();
    case Variable::rest: {
      // Where no route was found it would be all of the path, and "/${rest}" begin with two slashes: another host.
      const std::string_view rest = exchange_.rest();
      return rest.starts_with('/') ? rest.substr(1) : rest;
    }
    case Variable::query:
      if (request.query.empty()) return {};
      text_.assign(1, '?').append(request.query);
      return text_;
    case Variable::method: return request.method_text;
    case Variable::scheme: return scheme_of(exchange_);
    case Variable::client: text_ = exchange_.peer().host(); return text_;
    case Variable::request_id: {
      const RequestId* const given = exchange_.find_slot<RequestId>();
      return given == nullptr ? std::string_view() : std::string_view(given->text);
    }
    case Variable::header: return request.headers.find(argument);
    case Variable::tls_version:
    case Variable::tls_cipher:
    case Variable::tls_server_name:
    case Variable::client_cert_verified:
    case Variable::client_cert_subject:
    case Variable::client_cert_names:
    case Variable::client_cert_fingerprint: break;
  }
  const net::TlsPeer* const peer = exchange_.tls();
  return peer != nullptr ? value_of(*peer, static_cast<Variable>(id)) : std::string_view();
}

}  // namespace fiberd::http

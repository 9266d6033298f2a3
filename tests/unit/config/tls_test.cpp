#include <catch2/catch.hpp>
#include <string>

#include "config/config.hpp"

using namespace fiberd::config;
using Catch::Matchers::Contains;

namespace {

Outcome loaded(const std::string& tls, const std::string& service = "http: {routes: [{path: /, echo: {}}]}") {
  return load_text("listeners: [{name: w, address: \"127.0.0.1:0\", tls: " + tls + ", " + service + "}]\n", "f.yaml");
}

std::string wrong_tls(const std::string& tls) {
  std::string all;
  for (const Diagnostic& d : loaded(tls).diagnostics) all += d.to_string() + "\n";
  return all;
}

}  // namespace

TEST_CASE("tls: one pair, several, and what is by default", "[config][tls]") {
  const Outcome one = loaded("{certificate: /c, key: /k, ocsp: /o}");
  REQUIRE(one.ok());
  const TlsConfig& c = one.config.listeners[0].tls.value();
  REQUIRE(c.certificates.size() == 1);
  CHECK(c.certificates[0].certificate == "/c");
  CHECK(c.certificates[0].key == "/k");
  CHECK(c.certificates[0].ocsp == "/o");
  CHECK(c.certificates[0].key_at.key == "listeners[0].tls.key");
  CHECK(c.profile == TlsProfile::intermediate);
  CHECK_FALSE(c.strict_sni);
  CHECK_FALSE(c.client_auth.has_value());
  CHECK(c.tickets);
  CHECK(c.ticket_keys.empty());
  CHECK_FALSE(c.early_data);
  CHECK(c.ktls == TlsKernel::off);
  CHECK(loaded("{certificate: /c, key: /k, ktls: auto}").config.listeners[0].tls->ktls == TlsKernel::automatic);
  CHECK(loaded("{certificate: /c, key: /k, early_data: true}").config.listeners[0].tls->early_data);
  const Outcome several = loaded(
      "{certificates: [{certificate: /a, key: /b}, {certificate: /c, key: /d}], profile: modern, strict_sni: true, "
      "client_auth: {ca: /ca, mode: request, crl: /crl}, ticket_keys: [/1, /2]}");
  REQUIRE(several.ok());
  const TlsConfig& s = several.config.listeners[0].tls.value();
  REQUIRE(s.certificates.size() == 2);
  CHECK(s.certificates[1].certificate == "/c");
  CHECK(s.certificates[1].certificate_at.key == "listeners[0].tls.certificates[1].certificate");
  CHECK(s.profile == TlsProfile::modern);
  CHECK(s.strict_sni);
  CHECK(s.client_auth->mode == TlsClientAuthMode::request);
  CHECK(s.client_auth->crl == "/crl");
  CHECK(s.ticket_keys == std::vector<std::string>{"/1", "/2"});
  CHECK(loaded("{certificate: /c, key: /k, client_auth: {ca: /x}}").config.listeners[0].tls->client_auth->mode ==
        TlsClientAuthMode::require);
}

TEST_CASE("tls: what does not go together", "[config][tls]") {
  CHECK_THAT(wrong_tls("{}"), Contains("listeners[0].tls: needs certificate and key"));
  CHECK_THAT(wrong_tls("{profile: modern}"), Contains("needs certificate and key"));
  CHECK_THAT(wrong_tls("{certificates: []}"), Contains("needs certificate and key"));
  CHECK_THAT(wrong_tls("{certificate: /c, key: /k, early_data: true, ktls: auto}"),
             Contains("ktls: does not go with early_data"));
  CHECK_THAT(wrong_tls("{certificate: /c, key: /k, early_data: true, tickets: false}"),
             Contains("early_data: is sent by who has a ticket"));
  CHECK_THAT(wrong_tls("{certificate: /c, key: /k, early_data: true, ticket_keys: [/1]}"),
             Contains("early_data: does not go with ticket_keys"));
  CHECK_THAT(wrong_tls("{certificate: /c}"),
             Contains("key is required") || Contains("is required: a certificate and its key"));
  CHECK_THAT(wrong_tls("{key: /c}"), Contains("is required"));
  CHECK_THAT(wrong_tls("{certificate: /c, key: /k, certificates: [{certificate: /a, key: /b}]}"),
             Contains("stands beside certificate, key or ocsp"));
  CHECK_THAT(wrong_tls("{certificates: [{certificate: /a}]}"), Contains("listeners[0].tls.certificates[0]"));
  CHECK_THAT(wrong_tls("{certificate: \"/c$x\", key: /k}"), Contains("listeners[0].tls.certificate"));
  CHECK_THAT(wrong_tls("{certificate: /c, key: /k, client_auth: {}}"), Contains("is required"));
  CHECK_THAT(wrong_tls("{certificate: /c, key: /k, ticket_keys: [/1, /2, /3, /4]}"), Contains("at most three"));
  CHECK_THAT(wrong_tls("{certificate: /c, key: /k, tickets: false, ticket_keys: [/1]}"), Contains("is of tickets"));
  CHECK_THAT(wrong_tls("{certificate: /c, key: /k, profile: old}"), Contains("is not allowed; one of: modern"));
  std::string tcp;
  for (const Diagnostic& d : loaded("{certificate: /c, key: /k}", "tcp: {echo: {}}").diagnostics) tcp += d.to_string();
  CHECK_THAT(tcp, Contains("listeners[0].tls: is for http listeners"));
  std::string upgrades;
  for (const Diagnostic& d :
       loaded("{certificate: /c, key: /k}", "http: {http2: {upgrade: true}, routes: []}").diagnostics)
    upgrades += d.to_string();
  CHECK_THAT(upgrades, Contains("listeners[0].http.http2.upgrade: is for listeners without tls"));
}

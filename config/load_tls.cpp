#include "config/load_tls.hpp"

#include <string_view>
#include <utility>

#include "config/load_acme.hpp"
#include "config/text_rules.hpp"

namespace fiberd::config {

namespace {

void check_tls_file(const Reader& r, std::string_view key, const std::string& path) {
  if (const std::string wrong = check_file_path(path); !path.empty() && !wrong.empty())
    r.report(key, wrong);
  else if (const std::string_view variable = find_variable(path); !variable.empty())
    r.report(key, unknown_variable(variable, "write the path itself"));
}

/// `only`: what is written there is one pair, or a part of it.
TlsCertificateConfig read_pair(const Reader& r) {
  TlsCertificateConfig pair{r.text("certificate"),  r.text("key"),  r.text("ocsp"),
                            r.place("certificate"), r.place("key"), r.place("ocsp")};
  for (const auto& [key, text] : {std::pair("certificate", &pair.certificate), std::pair("key", &pair.key)}) {
    if (text->empty())
      r.report(key, "is required: a certificate and its key are two PEM files");
    else
      check_tls_file(r, key, *text);
  }
  check_tls_file(r, "ocsp", pair.ocsp);
  return pair;
}

void read_certificates(const Reader& tls, TlsConfig& c) {
  static constexpr std::size_t kMost = 100'000;
  const bool one = tls.has("certificate") || tls.has("key") || tls.has("ocsp");
  const bool several = tls.has("certificates");
  if (one && several) {
    tls.report("certificates", "stands beside certificate, key or ocsp: write all pairs into the list");
    return;
  }
  if (one) c.certificates.push_back(read_pair(tls));
  const std::size_t count =
      tls.list("certificates", [&](const Reader& item) { c.certificates.push_back(read_pair(item)); });
  if (tls.has("acme")) c.acme = read_acme(tls.section("acme"));
  if (!one && count == 0 && !c.acme)
    tls.report("",
               "needs certificate and key, certificates: [{certificate: FILE, key: FILE}], or acme: {domains: [NAME]}");
  if (count > kMost) tls.report("certificates", "has more than " + std::to_string(kMost) + " items");
}

std::optional<TlsClientAuthConfig> read_client_auth(const Reader& tls) {
  if (!tls.has("client_auth")) return std::nullopt;
  const Reader r = tls.section("client_auth");
  TlsClientAuthConfig auth{r.text("ca"), r.text("crl"), static_cast<TlsClientAuthMode>(r.choice("mode")), r.place("ca"),
                           r.place("crl")};
  if (auth.ca.empty()) r.report("ca", "is required: a PEM file with the certificates of who issues those of clients");
  check_tls_file(r, "ca", auth.ca);
  check_tls_file(r, "crl", auth.crl);
  return auth;
}

}  // namespace

TlsConfig read_tls(const Reader& tls) {
  TlsConfig c;
  c.at = tls.place("");
  read_certificates(tls, c);
  c.profile = static_cast<TlsProfile>(tls.choice("profile"));
  c.strict_sni = tls.boolean("strict_sni");
  c.client_auth = read_client_auth(tls);
  c.tickets = tls.boolean("tickets");
  PlacedTexts keys = tls.placed("ticket_keys");
  c.ticket_keys_at = tls.place("ticket_keys");
  for (std::size_t i = 0; i < keys.texts.size(); ++i) {
    if (keys.texts[i].empty()) tls.report("ticket_keys", i, "is empty");
    if (const std::string wrong = check_file_path(keys.texts[i]); !keys.texts[i].empty() && !wrong.empty())
      tls.report("ticket_keys", i, wrong);
    else if (const std::string_view variable = find_variable(keys.texts[i]); !variable.empty())
      tls.report("ticket_keys", i, unknown_variable(variable, "write the path itself"));
  }
  if (keys.texts.size() > 3)
    tls.report("ticket_keys", "at most three are allowed: the newest, and two that still open");
  if (!keys.texts.empty() && !c.tickets) tls.report("ticket_keys", "is of tickets, and tickets: false gives none");
  c.early_data = tls.boolean("early_data");
  if (c.early_data && !c.tickets)
    tls.report("early_data", "is sent by who has a ticket, and tickets: false gives none");
  if (c.early_data && !keys.texts.empty())
    tls.report("early_data", "does not go with ticket_keys: each machine that has them would take the same data once");
  c.ktls = static_cast<TlsKernel>(tls.choice("ktls"));
  if (c.early_data && c.ktls != TlsKernel::off)
    tls.report("ktls", "does not go with early_data: an answer may be sent before the kernel could have the keys");
  c.ticket_keys = std::move(keys.texts);
  return c;
}

}  // namespace fiberd::config

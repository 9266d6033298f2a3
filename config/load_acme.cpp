#include "config/load_acme.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "config/load_client_tls.hpp"
#include "config/text_rules.hpp"
#include "config/urls.hpp"
#include "core/base/characters.hpp"

namespace fiberd::config {

namespace {

/// What is wrong with a name that a certificate is to have, or empty.
std::string check_domain(std::string_view name) {
  if (const std::string_view variable = find_variable(name); !variable.empty())
    return unknown_variable(variable, "write the name itself");
  const std::string_view rest = name.starts_with("*.") ? name.substr(2) : name;
  if (rest.empty() || rest.size() > 253 || rest.find('.') == std::string_view::npos)
    return "\"" + std::string(name) + "\" is no name that an authority gives certificates for: write www.example.org";
  for (std::string_view left = rest; !left.empty();) {
    const std::size_t dot = std::min(left.find('.'), left.size());
    const std::string_view label = left.substr(0, dot);
    const bool plain = !label.empty() && label.size() <= 63 && label.front() != '-' && label.back() != '-' &&
                       std::all_of(label.begin(), label.end(), [](char c) { return ascii::is_alnum(c) || c == '-'; });
    if (!plain || dot + 1 == left.size())
      return "\"" + std::string(name) + "\" is no host name (of other scripts the form with xn--)";
    left.remove_prefix(std::min(dot + 1, left.size()));
  }
  if (std::all_of(rest.begin(), rest.end(), [](char c) { return ascii::is_digit(c) || c == '.'; }))
    return "\"" + std::string(name) + "\" is an address: certificates are had for names alone";
  return "";
}

void check_acme_path(const Reader& r, std::string_view key, const std::string& path) {
  if (path.empty()) return;
  if (const std::string wrong = check_file_path(path); !wrong.empty())
    r.report(key, wrong);
  else if (const std::string_view variable = find_variable(path); !variable.empty())
    r.report(key, unknown_variable(variable, "write the path itself"));
  else if (!path.starts_with('/'))
    r.report(key, "is not a whole path: it begins with /");
}

void read_domains(const Reader& acme, AcmeConfig& c) {
  static constexpr std::size_t kMost = 100;  // as Let's Encrypt has it
  c.domains = acme.strings("domains");
  bool wildcard = false;
  for (std::size_t i = 0; i < c.domains.size(); ++i) {
    std::string& name = c.domains[i];
    if (const std::string wrong = check_domain(name); !wrong.empty()) acme.report("domains", i, wrong);
    for (char& letter : name) letter = ascii::to_lower(letter);
    wildcard = wildcard || name.starts_with("*.");
    if (std::find(c.domains.begin(), c.domains.begin() + static_cast<std::ptrdiff_t>(i), name) !=
        c.domains.begin() + static_cast<std::ptrdiff_t>(i))
      acme.report("domains", i, "stands there already");
  }
  if (c.domains.empty()) acme.report("domains", "is required: the names that the certificate is to have");
  if (c.domains.size() > kMost) acme.report("domains", "has more than " + std::to_string(kMost) + " items");
  if (wildcard && c.challenge != AcmeChallenge::dns_01)
    acme.report("challenge", "must be dns-01: authorities give wildcards for nothing else");
}

}  // namespace

AcmeConfig read_acme(const Reader& acme) {
  AcmeConfig c;
  c.at = acme.place("");
  c.challenge = static_cast<AcmeChallenge>(acme.choice("challenge"));
  read_domains(acme, c);
  c.email = acme.text("email");
  const bool odd_email = c.email.find_first_of(" \t\r\n,?<>\"") != std::string::npos ||
                         c.email.find('@') == std::string::npos || c.email.size() > 254;
  if (!c.email.empty() && odd_email) acme.report("email", "\"" + c.email + "\" is no address: write ops@example.org");
  c.directory = acme.text("directory");
  if (const std::string wrong = check_http_url(c.directory); !wrong.empty())
    acme.report("directory", wrong);
  else if (!c.directory.starts_with("https://"))
    acme.report("directory", "must begin with https://: whoever stands between could have certificates for your names");
  c.storage = acme.text("storage");
  c.storage_at = acme.place("storage");
  if (c.storage.empty()) acme.report("storage", "is required");
  check_acme_path(acme, "storage", c.storage);
  c.profile = acme.text("profile");
  c.dns_program = acme.text("dns_program");
  c.dns_program_at = acme.place("dns_program");
  check_acme_path(acme, "dns_program", c.dns_program);
  if ((c.challenge == AcmeChallenge::dns_01) != !c.dns_program.empty())
    acme.report(c.dns_program.empty() ? "challenge" : "dns_program",
                "challenge: dns-01 and dns_program, which writes the record, go together");
  const Reader eab = acme.section("eab");
  c.key_id = eab.text("key_id");
  c.key_file = eab.text("key_file");
  c.key_file_at = eab.place("key_file");
  check_acme_path(eab, "key_file", c.key_file);
  if (c.key_id.empty() != c.key_file.empty())
    eab.report(c.key_id.empty() ? "key_id" : "key_file", "goes with the other: both are the authority's");
  if (acme.has("on_demand")) {
    const Reader on_demand = acme.section("on_demand");
    c.on_demand.ask = on_demand.text("ask");
    if (c.on_demand.ask.empty())
      on_demand.report("ask", "is required: who says which names are yours? Anybody may ask for any name");
    else if (const std::string wrong = check_http_url(c.on_demand.ask); !wrong.empty())
      on_demand.report("ask", wrong);
    c.on_demand.orders = on_demand.rate("orders");
    c.on_demand.names = on_demand.number("names");
  }
  c.tls = read_client_tls(acme.section("authority"), c.directory, "acme.directory");
  return c;
}

void check_acme(const Config& config, std::vector<Diagnostic>& diagnostics) {
  const auto sorted = [](std::vector<std::string> names) {
    std::sort(names.begin(), names.end());
    return names;
  };
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    const auto& tls = config.listeners[i].tls;
    if (!tls || !tls->acme || tls->acme->domains.empty()) continue;
    const AcmeConfig& one = *tls->acme;
    for (std::size_t before = 0; before < i; ++before) {
      const auto& its = config.listeners[before].tls;
      if (!its || !its->acme || its->acme->domains.empty()) continue;
      const AcmeConfig& other = *its->acme;
      if (one.storage != other.storage || one.directory != other.directory) continue;
      std::string what;
      if (one.email != other.email || one.key_id != other.key_id || one.key_file != other.key_file)
        what = "email and eab must be those of listener " + config.listeners[before].name +
               ": with one storage and one directory both have one account";
      else if (one.domains.front() == other.domains.front() && sorted(one.domains) == sorted(other.domains) &&
               (one.challenge != other.challenge || one.dns_program != other.dns_program ||
                one.profile != other.profile || one.tls != other.tls))
        what = "challenge, dns_program, profile and authority must be those of listener " +
               config.listeners[before].name + ": for the same names both have one certificate";
      if (what.empty()) continue;
      diagnostics.push_back(diagnostic_at(one.at, std::move(what)));
      break;
    }
  }
}

}  // namespace fiberd::config

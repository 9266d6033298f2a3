#include "config/load_client_tls.hpp"

#include <string>

#include "config/text_rules.hpp"

namespace fiberd::config {

static void check_client_tls_file(const Reader& r, std::string_view key, const std::string& path) {
  if (path.empty()) return;
  if (const std::string wrong = check_file_path(path); !wrong.empty())
    r.report(key, wrong);
  else if (const std::string_view variable = find_variable(path); !variable.empty())
    r.report(key, unknown_variable(variable, "write the path itself"));
}

ClientTlsConfig read_client_tls(const Reader& r, std::string_view url, std::string_view key) {
  ClientTlsConfig c{r.text("ca"),  r.text("certificate"),  r.text("key"),
                    r.place("ca"), r.place("certificate"), r.place("key")};
  check_client_tls_file(r, "ca", c.ca);
  check_client_tls_file(r, "certificate", c.certificate);
  check_client_tls_file(r, "key", c.key);
  if (c.certificate.empty() != c.key.empty())
    r.report(c.key.empty() ? "certificate" : "key", "goes with the other: certificate and key are two PEM files");
  const std::vector<std::string> written = r.keys();
  if (!written.empty() && !url.starts_with("https://"))
    r.report(written.front(), "has no effect: " + std::string(key) + " is not an https:// address");
  return c;
}

}  // namespace fiberd::config

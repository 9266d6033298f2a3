#include "daemon/client_tls.hpp"

#include "core/base/read_file.hpp"

namespace fiberd::daemon {

Result<std::shared_ptr<const tls::ClientContext>> make_client_tls(const config::ClientTlsConfig& config,
                                                                  std::string& why, config::Place& at) {
  static constexpr std::size_t kMost = std::size_t{1} << 20U;  // all of a system's authorities are 200 KiB
  if (config.ca.empty() && config.certificate.empty()) return nullptr;
  std::error_code error;
  const auto read = [&](const std::string& file, const config::Place& where) {
    if (file.empty() || error) return std::string();
    Result<std::string> text = read_file(file, kMost);
    if (text) return std::move(*text);
    error = text.error();
    why = file + ": " + why_unreadable(error);
    at = where;
    return std::string();
  };
  tls::ClientContextOptions options{.ca = read(config.ca, config.ca_at),
                                    .certificate = read(config.certificate, config.certificate_at),
                                    .key = read(config.key, config.key_at),
                                    .protocols = {"http/1.1"}};
  if (error) return fail(error);
  // Each by itself, so that the one that is wrong is named. An empty file would be as if none had been written.
  const auto ca = tls::ClientContext::make({.ca = options.ca});
  if (!config.ca.empty() && (options.ca.empty() || !ca)) {
    at = config.ca_at;
    why = config.ca + ": holds no certificate in PEM";
    return fail(std::errc::invalid_argument);
  }
  const bool shown = !config.certificate.empty();
  auto made = tls::ClientContext::make(options);
  if (made && (!shown || !options.certificate.empty())) return made;
  at = config.certificate_at;
  why = config.certificate + ": is no certificate in PEM, or " + config.key + " is not its key";
  return fail(std::errc::invalid_argument);
}

}  // namespace fiberd::daemon

#pragma once
#include <vector>

#include "config/acme.hpp"
#include "config/config.hpp"
#include "config/reader.hpp"

namespace fiberd::config {

/// listeners[].tls.acme
[[nodiscard]] AcmeConfig read_acme(const Reader& acme);
/// What is right alone and wrong together: two listeners that would have one account, or one certificate, by different
/// settings.
void check_acme(const Config& config, std::vector<Diagnostic>& diagnostics);

}  // namespace fiberd::config

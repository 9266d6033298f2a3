#pragma once
// The manual page of the configuration file, fiberd.yaml(5), from the schema.
#include <string>
#include <string_view>

namespace fiberd::config {

/// As roff source with the macros of man(7).
[[nodiscard]] std::string render_schema_manual(std::string_view version);

}  // namespace fiberd::config

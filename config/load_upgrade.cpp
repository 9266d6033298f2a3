#include "config/load_upgrade.hpp"

#include <string_view>

#include "config/text_rules.hpp"

namespace fiberd::config {

UpgradeConfig read_upgrade(const Reader& upgrade) {
  UpgradeConfig c;
  c.timeout = upgrade.duration("timeout");
  c.public_key = upgrade.text("public_key");
  c.public_key_at = upgrade.place("public_key");
  if (const std::string wrong = check_file_path(c.public_key); !c.public_key.empty() && !wrong.empty())
    upgrade.report("public_key", wrong);
  else if (const std::string_view variable = find_variable(c.public_key); !variable.empty())
    upgrade.report("public_key", unknown_variable(variable, "write the path itself"));
  return c;
}

}  // namespace fiberd::config

#include "config/load_log.hpp"

#include <algorithm>
#include <string_view>

#include "config/text_rules.hpp"
#include "core/base/listed.hpp"

namespace fiberd::config {

namespace {

template <class Names>
std::size_t index_of(const Names& names, std::string_view name) {
  return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
}

}  // namespace

LogConfig read_log(const Reader& log) {
  LogConfig c{static_cast<LogLevel>(log.choice("level")),
              static_cast<LogFormat>(log.choice("format")),
              log.text("output"),
              {},
              log.place("output")};
  if (const std::string wrong = check_file_path(c.output); !wrong.empty())
    log.report("output", wrong + "; auto, stderr, stdout, journal or a path");
  else if (const std::string_view variable = find_variable(c.output); !variable.empty())
    log.report("output", unknown_variable(variable, "write the path itself"));
  const auto written = log.pairs("modules");
  for (std::size_t i = 0; i < written.size(); ++i) {
    const auto& [name, text] = written[i];
    const std::size_t module = index_of(kLogModules, name);
    const std::size_t level = index_of(kLogLevels, text);
    if (module == kLogModules.size())
      log.report("modules", i, "is no module; there are " + listed(kLogModules));
    else if (level == kLogLevels.size())
      log.report("modules", i, "\"" + text + "\" is no level; there are " + listed(kLogLevels));
    else
      c.modules.emplace_back(static_cast<LogModule>(module), static_cast<LogLevel>(level));
  }
  return c;
}

}  // namespace fiberd::config

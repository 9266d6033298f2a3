#pragma once
// Words: the command line as a tree of commands and options. Help, manual page and completions are of one table: what
// CLI11 parses by.
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace fiberd::daemon::commands {

/// What stands behind an option.
enum class Value { none, text, file, config_file, key, choice };

struct OptionWords {
  std::vector<std::string> names;  ///< -c, --config; empty: it is told by its place
  std::string value;               ///< FILE; empty: none
  Value kind = Value::none;
  std::vector<std::string> choices;
  std::string help;
};

struct CommandWords {
  std::string name;
  std::string help;
  std::vector<OptionWords> options;
  std::vector<CommandWords> commands;
};

/// Of `app` and all below it what is told to people. The name is without directories.
[[nodiscard]] CommandWords words_of(const CLI::App& app);

/// The shells that completions are made for.
[[nodiscard]] const std::vector<std::string>& shells();

/// The keys that --set takes and a person may write without an index, e.g. runtime.gomaxprocs.
[[nodiscard]] std::vector<std::string> keys_to_set();

}  // namespace fiberd::daemon::commands

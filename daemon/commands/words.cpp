#include "daemon/commands/words.hpp"

#include <CLI/CLI.hpp>

#include "config/schema.hpp"

namespace fiberd::daemon::commands {

static OptionWords option_words(const CLI::Option& option) {
  OptionWords out;
  for (const std::string& name : option.get_snames()) out.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) out.names.push_back("--" + name);
  out.help = option.get_description();
  if (option.get_items_expected_max() == 0) return out;
  const bool by_place = out.names.empty();
  out.value = by_place ? option.get_single_name() : option.get_option_text();
  const std::string name = by_place ? "" : out.names.back();
  if (out.value == "SHELL") {
    out.kind = Value::choice;
    out.choices = shells();
  } else if (by_place || name == "--config") {
    out.kind = Value::config_file;
  } else if (name == "--set") {
    out.kind = Value::key;
  } else {
    out.kind = out.value == "FILE" ? Value::file : Value::text;
  }
  return out;
}

CommandWords words_of(const CLI::App& app) {
  CommandWords out;
  const std::string& path = app.get_name();
  out.name = path.substr(path.rfind('/') == std::string::npos ? 0 : path.rfind('/') + 1);
  out.help = app.get_description();
  // Without a group it is there to be refused with a reason.
  for (const CLI::Option* const option : app.get_options([](const CLI::Option* o) { return !o->get_group().empty(); }))
    out.options.push_back(option_words(*option));
  for (const CLI::App* const command : app.get_subcommands([](const CLI::App*) { return true; }))
    out.commands.push_back(words_of(*command));
  return out;
}

const std::vector<std::string>& shells() {
  static const std::vector<std::string> names{"bash", "zsh", "fish"};
  return names;
}

std::vector<std::string> keys_to_set() {
  std::vector<std::string> out;
  for (const config::Row& row : config::schema()) {
    const bool holder = row.type == config::Type::section || row.type == config::Type::list;
    if (!holder && config::is_available(row) && row.path.find('[') == std::string_view::npos)
      out.emplace_back(row.path);
  }
  return out;
}

}  // namespace fiberd::daemon::commands

#include "daemon/commands/completion.hpp"

#include <algorithm>
#include <functional>

#include "core/base/characters.hpp"

namespace fiberd::daemon::commands {
namespace {

/// As one word of a shell; fish knows no '\'', but a quote behind a backslash in quotes.
std::string shell_word(std::string_view text, std::string_view quote = "'\\''") {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'')
      out += quote;
    else
      out += c;
  }
  return out + "'";
}

std::string fish_word(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\\') escaped += '\\';
    escaped += c;
  }
  return shell_word(escaped, "\\'");
}

/// Part of a function's name.
std::string identifier(std::string_view name) {
  std::string out;
  for (const char c : name) out += ascii::is_alnum(c) ? c : '_';
  return out;
}

std::string joined(const std::vector<std::string>& words, std::string_view between) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : std::string(between)) + word;
  return out;
}

using Visit = std::function<void(const CommandWords&, const std::string& path)>;
/// `command` and all below it; the path of the program itself is empty, that of `config default` has a blank.
void each_command(const CommandWords& command, const std::string& path, const Visit& visit) {
  visit(command, path);
  for (const CommandWords& below : command.commands)
    each_command(below, path.empty() ? below.name : path + " " + below.name, visit);
}

std::vector<std::string> names_of(const CommandWords& command) {
  std::vector<std::string> out;
  for (const CommandWords& below : command.commands) out.push_back(below.name);
  return out;
}

/// The names of all options of this kind, of whichever command: one name means one thing.
std::vector<std::string> options_of(const CommandWords& program, Value kind) {
  std::vector<std::string> out;
  each_command(program, "", [&](const CommandWords& command, const std::string&) {
    for (const OptionWords& option : command.options) {
      if (option.kind != kind) continue;
      for (const std::string& name : option.names)
        if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(name);
    }
  });
  return out;
}

std::vector<std::string> options_with_values(const CommandWords& program) {
  std::vector<std::string> out;
  for (const Value kind : {Value::text, Value::file, Value::config_file, Value::key, Value::choice})
    for (const std::string& name : options_of(program, kind)) out.push_back(name);
  return out;
}

std::vector<std::string> option_names(const CommandWords& command) {
  std::vector<std::string> out;
  for (const OptionWords& option : command.options) out.insert(out.end(), option.names.begin(), option.names.end());
  return out;
}

const OptionWords* by_place(const CommandWords& command) {
  for (const OptionWords& option : command.options)
    if (option.names.empty()) return &option;
  return nullptr;
}

std::string keys_with_sign() {
  std::string out;
  for (const std::string& key : keys_to_set()) out += (out.empty() ? "" : " ") + key + "=";
  return out;
}

// ---- bash

std::string bash(const CommandWords& program) {
  const std::string f = "_" + identifier(program.name);
  std::string out = "# Completion for bash, made by `" + program.name + " completion bash`.\n";
  out += f +
         R"(_files() {
  compopt -o filenames 2> /dev/null
  if [ "$2" = all ]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$1")
  else
    mapfile -t COMPREPLY < <(compgen -d -- "$1"; compgen -f -X '!*.yaml' -- "$1"; compgen -f -X '!*.yml' -- "$1")
  fi
}
)";
  out += f + R"(() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev='' command='' options='' commands='' place='' word i
  COMPREPLY=()
  ((COMP_CWORD == 0)) || prev=${COMP_WORDS[COMP_CWORD - 1]}
  # --config=FILE is three words here.
  if [ "$cur" = = ]; then
    cur=''
  elif [ "$prev" = = ] && ((COMP_CWORD > 1)); then
    prev=${COMP_WORDS[COMP_CWORD - 2]}
    # What --set gives to a key.
    [[ $prev == -* ]] || return
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    case $word in
)";
  out += "      " + joined(options_with_values(program), "|") + R"()
        [ "${COMP_WORDS[i + 1]}" != = ] || ((++i))
        ((++i))
        [ "${COMP_WORDS[i + 1]}" != = ] || ((i += 2))
        continue ;;
    esac
    case "$command $word" in
)";
  each_command(program, "", [&](const CommandWords&, const std::string& path) {
    if (path.empty()) return;
    out += "      '" + std::string(path.find(' ') == std::string::npos ? " " : "") + path + "') command='" + path +
           "' ;;\n";
  });
  out += "    esac\n  done\n  case $prev in\n";
  const auto by_kind = [&](Value kind, const std::string& what) {
    const std::vector<std::string> names = options_of(program, kind);
    if (!names.empty()) out += "    " + joined(names, "|") + ") " + what + "return ;;\n";
  };
  by_kind(Value::config_file, f + "_files \"$cur\" yaml; ");
  by_kind(Value::file, f + "_files \"$cur\" all; ");
  by_kind(Value::text, "");
  const std::vector<std::string> key_options = options_of(program, Value::key);
  if (!key_options.empty())
    out += "    " + joined(key_options, "|") +
           ")\n      compopt -o nospace 2> /dev/null\n      mapfile -t COMPREPLY < <(compgen -W '" + keys_with_sign() +
           "' -- \"$cur\")\n      return ;;\n";
  out += "  esac\n  case $command in\n";
  each_command(program, "", [&](const CommandWords& command, const std::string& path) {
    out += "    '" + path + "') options='" + joined(option_names(command), " ") + "'";
    std::string words = joined(names_of(command), " ");
    if (const OptionWords* const option = by_place(command)) {
      if (option->kind == Value::choice) words += joined(option->choices, " ");
      if (option->kind == Value::config_file) out += " place=yaml";
    }
    if (!words.empty()) out += " commands='" + words + "'";
    out += " ;;\n";
  });
  out += R"(  esac
  case $cur in
    -*) mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur") ;;
    *)
      if [ -n "$place" ]; then
)";
  out += "        " + f + "_files \"$cur\" \"$place\"\n";
  out += R"(      else
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur")
      fi ;;
  esac
}
)";
  out += "complete -F " + f + " -- " + shell_word(program.name) + "\n";
  return out;
}

// ---- zsh

/// What stands in the brackets of _arguments, or behind the colon of _describe.
std::string zsh_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string zsh_value(const OptionWords& option) {
  const std::string of = ":" + zsh_text(option.value);
  switch (option.kind) {
    case Value::none: return "";
    case Value::text: return of + ": ";
    case Value::file: return of + ":_files";
    case Value::config_file: return of + ":_files -g \"*.(yaml|yml)\"";
    case Value::key: return of + ":compadd -S \"\" -- " + keys_with_sign();
    case Value::choice: return of + ":(" + joined(option.choices, " ") + ")";
  }
  return "";
}

std::string zsh_arguments(const CommandWords& command) {
  std::string out;
  for (const OptionWords& option : command.options) {
    if (option.names.empty()) {
      out += " \\\n    " + shell_word("1" + zsh_value(option));
      continue;
    }
    const std::string again = option.kind == Value::key ? "*" : "";
    for (const std::string& name : option.names) {
      const std::string others = again.empty() ? "(" + joined(option.names, " ") + ")" : again;
      // =: the value may stand behind it, too.
      const std::string sign = option.kind != Value::none && name.starts_with("--") ? "=" : "";
      std::string spec = others;
      spec += name;
      spec += sign;
      spec += "[" + zsh_text(option.help) + "]" + zsh_value(option);
      out += " \\\n    " + shell_word(spec);
    }
  }
  return out;
}

void add_zsh_function(std::string& out, const CommandWords& command, const std::string& function) {
  for (const CommandWords& below : command.commands)
    add_zsh_function(out, below, function + "_" + identifier(below.name));
  out += "\n" + function + "() {\n  local context state state_descr line\n  typeset -A opt_args\n";
  if (command.commands.empty()) {
    out += "  _arguments -s -S" + zsh_arguments(command) + "\n}\n";
    return;
  }
  out += "  _arguments -s -S -C" + zsh_arguments(command) +
         " \\\n    '1: :->command' \\\n    '*:: :->rest' && return 0\n  case $state in\n    command)\n      local -a "
         "commands\n"
         "      commands=(\n";
  for (const CommandWords& below : command.commands)
    out += "        " + shell_word(zsh_text(below.name) + ":" + zsh_text(below.help)) + "\n";
  out += "      )\n      _describe -t commands command commands ;;\n    rest)\n      case $words[1] in\n";
  for (const CommandWords& below : command.commands)
    out += "        " + below.name + ") " + function + "_" + identifier(below.name) + " ;;\n";
  out += "      esac ;;\n  esac\n}\n";
}

std::string zsh(const CommandWords& program) {
  const std::string f = "_" + identifier(program.name);
  std::string out =
      "#compdef " + program.name + "\n# Completion for zsh, made by `" + program.name + " completion zsh`.\n";
  add_zsh_function(out, program, f);
  // It is the function's own body when zsh finds it by its name, and defines it when it is read.
  out += "\nif [ \"$funcstack[1]\" = " + shell_word(f) + " ]; then\n  " + f + " \"$@\"\nelse\n  compdef " + f + " " +
         shell_word(program.name) + "\nfi\n";
  return out;
}

// ---- fish

std::string fish(const CommandWords& program) {
  const std::string at = "__" + identifier(program.name) + "_at";
  std::string out = "# Completion for fish, made by `" + program.name + " completion fish`.\n";
  std::vector<std::string> words;
  each_command(program, "", [&](const CommandWords& command, const std::string& path) {
    if (!path.empty() && std::find(words.begin(), words.end(), command.name) == words.end())
      words.push_back(command.name);
  });
  out += "function " + at + " --description 'Whether these are the commands of the line so far'\n";
  out += "    set -l skip 0\n    set -l found\n    for word in (commandline -opc)[2..-1]\n";
  out += "        if test $skip = 1\n            set skip 0\n            continue\n        end\n        switch $word\n";
  out += "            case " + joined(options_with_values(program), " ") + "\n                set skip 1\n";
  out += "            case " + joined(words, " ") + "\n                set -a found $word\n";
  out += "        end\n    end\n    test \"$found\" = \"$argv\"\nend\n";
  const std::string begin = "complete -c " + fish_word(program.name);
  out += begin + " -f\n";
  each_command(program, "", [&](const CommandWords& command, const std::string& path) {
    const std::string here = begin + " -n " + fish_word(path.empty() ? at : at + " " + path);
    for (const CommandWords& below : command.commands)
      out += here + " -a " + below.name + " -d " + fish_word(below.help) + "\n";
    for (const OptionWords& option : command.options) {
      std::string line = here;
      for (const std::string& name : option.names)
        line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      const bool named = !option.names.empty();
      switch (option.kind) {
        case Value::none: break;
        case Value::text: line += " -x"; break;
        case Value::file:
        case Value::config_file: line += named ? " -r -F" : " -F"; break;
        case Value::key: line += " -x -a " + fish_word(keys_with_sign()); break;
        case Value::choice: line += (named ? " -x -a " : " -a ") + fish_word(joined(option.choices, " ")); break;
      }
      out += line + (named ? " -d " + fish_word(option.help) : "") + "\n";
    }
  });
  return out;
}

}  // namespace

std::string render_completion(const CommandWords& program, std::string_view shell) {
  if (shell == "zsh") return zsh(program);
  if (shell == "fish") return fish(program);
  return bash(program);
}

}  // namespace fiberd::daemon::commands

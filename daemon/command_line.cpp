#include "daemon/command_line.hpp"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <deque>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "config/manual.hpp"
#include "config/reader.hpp"
#include "config/schema.hpp"
#include "core/base/units.hpp"
#include "daemon/commands/acme.hpp"
#include "daemon/commands/check.hpp"
#include "daemon/commands/completion.hpp"
#include "daemon/commands/find_admin.hpp"
#include "daemon/commands/healthcheck.hpp"
#include "daemon/commands/manual.hpp"
#include "daemon/commands/program.hpp"
#include "daemon/commands/status.hpp"
#include "daemon/exit_code.hpp"
#include "daemon/failure.hpp"
#include "daemon/inheritance.hpp"
#include "daemon/reload_command.hpp"
#include "daemon/run.hpp"
#include "daemon/signals.hpp"
#include "daemon/top/command.hpp"
#include "daemon/upgrade/command.hpp"
#include "daemon/upgrade/program.hpp"
#include "daemon/version.hpp"

namespace fiberd::daemon {

namespace commands {
namespace {

/// Without -c, and without a default of its own, a program with handlers would serve fiberd's demo and none of them.
bool has_nothing_to_serve(const Program& program, const std::string& file) {
  const config::HandlerNames names = program.handlers.names();
  if (!file.empty() || program.own_default || (names.http.empty() && names.tcp.empty() && names.filters.empty()))
    return false;
  std::string all;
  for (const std::vector<std::string>* const kind : {&names.http, &names.tcp, &names.filters})
    for (const std::string& name : *kind) all += (all.empty() ? "" : ", ") + name;
  std::fprintf(
      stderr,
      "no configuration: the built-in one serves none of this program's handlers (%s). Name one with -c FILE, or "
      "give the program its own with Daemon::default_config(); `config default` prints one to start from\n",
      all.c_str());
  return true;
}

int run(const Program& program, const std::string& file, const std::vector<std::string>& overrides) {
  // Who starts it may ask at once for what a daemon does.
  hold_service_signals();
  if (has_nothing_to_serve(program, file)) return code(ExitCode::bad_usage);
  Inheritance inheritance;
  InheritedSockets& inherited = inheritance.sockets;
  std::string why;
  bool understood = true;
  inheritance.predecessor = upgrade::Predecessor::find(inherited, understood, why);
  // Whoever waits for this process is told why it is not to be.
  const auto refuse = [&](const std::string& reason) {
    if (inheritance.predecessor != nullptr) inheritance.predecessor->failed(reason);
    return complain("fiberd: " + reason);
  };
  if (!understood || !inherited.take_from_environment(why)) return refuse(why);
  config::Outcome outcome = load(program, file, overrides);
  if (outcome.ok() && !inherited.settle(outcome.config, why)) return refuse(why);
  const ExitCode verdict = judge(
      program, outcome,
      [&](std::string_view listener, const std::string& address, bool datagrams) {
        return inherited.has(listener, address, datagrams);
      },
      nullptr, &inheritance.tls);
  if (verdict != ExitCode::clean) {
    std::string told = "the configuration is refused";
    for (const auto& diagnostic : outcome.diagnostics) told += "; " + diagnostic.to_string();
    if (inheritance.predecessor != nullptr) inheritance.predecessor->failed(told);
    return code(verdict);
  }
  // A pipe has been read to its end, and nobody can tell whether there is to be more.
  const ExitCode ended = run_daemon(
      outcome.config, program.handlers, [&] { return load(program, file, overrides, NotRegular::refuse); },
      absolute(file), &inheritance);
  if (inheritance.predecessor != nullptr && ended != ExitCode::clean) inheritance.predecessor->failed(last_fatal());
  return code(ended);
}

/// What stands where a command is expected: one that is misspelt, or a file.
void say_what_was_meant(CLI::App& app) {
  if (app.count("--config") != 0) return;
  std::vector<std::string> commands;
  for (const CLI::App* const c : app.get_subcommands([](const CLI::App*) { return true; }))
    commands.push_back(c->get_name());
  for (const std::string& word : app.remaining()) {
    if (word.starts_with('-')) continue;
    if (word.ends_with(".yaml") || word.ends_with(".yml"))
      std::fprintf(stderr, "To run it with that file: %s -c %s\n", app.get_name().c_str(), word.c_str());
    else if (const std::string near = config::nearest(word, commands); !near.empty())
      std::fprintf(stderr, "Did you mean %s?\n", near.c_str());
  }
}

int reload(const Program& program, const AdminWords& words) {
  const auto admin = find_admin(program, words);
  if (!admin) return code(ExitCode::bad_usage);
  return reload_by_admin({admin->address, absolute(words.file), admin->source, admin->token_file});
}

int ask_to_upgrade(const Program& program, const std::string& file, const upgrade::CommandOptions& options) {
  const auto admin = find_admin(
      program, {.command = "upgrade", .file = file, .address = options.address, .token_file = options.token_file});
  if (!admin) return code(ExitCode::bad_usage);
  return upgrade::run_command(options, {admin->address, admin->token_file, admin->source});
}

int watch(const Program& program, const AdminWords& words, top::Options options) {
  const auto admin = find_admin(program, words);
  if (!admin) return code(ExitCode::bad_usage);
  options.asked = {admin->address, admin->source, admin->token_file};
  return top::run_top(options);
}

}  // namespace
}  // namespace commands

int run_command_line(int argc, char** argv, const Handlers& handlers, const std::string& default_config) {
  using namespace commands;
  const Program program{handlers, default_config.empty() ? config::default_config() : default_config,
                        !default_config.empty()};
  char name[] = "fiberd";
  char* nothing[] = {name, nullptr};
  if (argc < 1) argc = 1, argv = nothing;  // execve(2) allows it
  upgrade::remember_invocation(argc, argv);
  CLI::App app{
      "fiberd: a TCP and HTTP server on fibers. Without a command it runs the server: at once, and without -c on "
      "the built-in configuration."};
  app.require_subcommand(0, 1);
  // One for each level: behind the command they would replace what was written before it.
  std::deque<std::vector<std::string>> sets;
  std::deque<std::string> names;
  std::vector<CLI::Option*> name_options;
  auto add_set = [&](CLI::App& command) {
    return command
        .add_option("--set", sets.emplace_back(),
                    "Replaces one key, e.g. --set runtime.gomaxprocs=2; once for each key")
        ->option_text("KEY=VALUE")
        ->allow_extra_args(false)
        ->take_all();
  };
  auto add_name = [&](CLI::App& command, const char* option, const char* what) {
    name_options.push_back(command.add_option(option, names.emplace_back(), what));
    return name_options.back();
  };
  auto add_file = [&](CLI::App& command, const char* what) {
    add_name(command, "-c,--config", what)->option_text("FILE");
  };
  static constexpr const char* kRunFile = "Configuration file (YAML); without it the built-in default";
  add_file(app, kRunFile);
  add_set(app);
  // FILE alone, or behind -c: people remember one of the two, and not of which command.
  auto add_either = [&](CLI::App& command, const char* what) {
    add_name(command, "FILE", "The same as -c FILE")->option_text(" ");
    add_file(command, what);
    return add_set(command);
  };
  CLI::App* const run_command = app.add_subcommand("run", "Run the server (the default)");
  (void)add_either(*run_command, kRunFile);
  CLI::App* const check_command = app.add_subcommand("check", "Check a configuration file and say all that is wrong");
  (void)add_either(*check_command, "Configuration file (YAML); - is standard input");
  CheckWords check_words;
  check_command->add_flag(
      "--show", check_words.show,
      "Print the configuration in effect: with defaults, included files, --set and the environment, "
      "without secrets");
  CLI::App* const config_command = app.add_subcommand("config", "Print configuration");
  config_command->require_subcommand(1);
  CLI::App* const default_command = config_command->add_subcommand("default", "The built-in default, as YAML");
  CLI::App* const schema_command = config_command->add_subcommand("schema", "Every key: type, default, range, help");
  bool markdown = false;
  CLI::Option* const as_markdown = schema_command->add_flag("--markdown", markdown, "As docs/configuration.md");
  bool schema_manual = false;
  schema_command->add_flag("--man", schema_manual, "As the source of the manual page fiberd.yaml(5)")
      ->excludes(as_markdown);
  // Who asks a daemon that runs.
  auto add_admin = [&](CLI::App& command, AdminWords& words) {
    command
        .add_option("--address", words.address,
                    "Where its admin listener is; else what the file says, or 127.0.0.1:9090")
        ->option_text("ADMIN");
    return &command;
  };
  auto add_token = [&](CLI::App& command, AdminWords& words) {
    command
        .add_option("--token-file", words.token_file,
                    "With the token that it asks for; else the file's admin.token_file")
        ->option_text("FILE");
  };
  static constexpr const char* kAdminFile = "Its configuration file, for where its admin listener is";
  CLI::App* const reload_command =
      app.add_subcommand("reload", "Have the daemon that runs load its configuration anew");
  add_either(*reload_command,
             "Its configuration file, for where its admin listener is; a daemon of another file refuses")
      ->group("");  // refused below, with the reason
  AdminWords reload_words{.command = "reload"};
  add_admin(*reload_command, reload_words);
  add_token(*reload_command, reload_words);
  CLI::App* const status_command =
      app.add_subcommand("status", "Say what the daemon that runs does: listeners, rates, the last reload");
  add_either(*status_command, kAdminFile)->group("");
  StatusWords status_words{.admin = {.command = "status"}};
  std::string status_interval = "1s";
  add_admin(*status_command, status_words.admin);
  add_token(*status_command, status_words.admin);
  status_command->add_flag("--json", status_words.json, "The same as one JSON object");
  status_command->add_option("--interval", status_interval, "That rates are measured for, 100ms to 1h; 1s")
      ->option_text("TIME");
  CLI::App* const health_command =
      app.add_subcommand("healthcheck", "Ask a daemon that runs whether it is ready: one line, exit code 0 or 1");
  add_either(*health_command, kAdminFile)->group("");
  AdminWords health_words{.command = "healthcheck"};
  add_admin(*health_command, health_words);
  CLI::App* const top_command = app.add_subcommand("top", "Show what a daemon that runs does, again and again");
  add_either(*top_command, kAdminFile)->group("");
  AdminWords top_words{.command = "top"};
  std::string top_interval = "1s";
  std::string top_sort = "rate";
  top::Options top_options;
  add_admin(*top_command, top_words);
  add_token(*top_command, top_words);
  top_command->add_flag("--once", top_options.once, "Print one look and end; so it does where output is no terminal");
  top_command->add_flag("--json", top_options.json, "The same as JSON: rates, and the whole of /debug/status");
  top_command->add_option("--interval", top_interval, "Between two looks, 100ms to 1h; 1s")->option_text("TIME");
  top_command->add_option("--sort", top_sort, "By rate (the default), latency, errors, name, fibers or age")
      ->option_text("ORDER");
  upgrade::CommandOptions upgrade_options;
  CLI::App* const upgrade_command = upgrade::add_command(app, upgrade_options);
  add_either(*upgrade_command, kAdminFile)->group("");
  CLI::App* const acme_command =
      app.add_subcommand("acme", "Certificates that come by themselves (tls.acme)")->require_subcommand(1);
  CLI::App* const acme_list_command =
      acme_command->add_subcommand("list", "Say which are there, until when, and what went wrong");
  add_either(*acme_list_command, "The configuration file")->group("");
  AcmeWords acme_words;
  CLI::App* const acme_renew_command =
      acme_command->add_subcommand("renew", "Have the daemon that runs ask for all of them now");
  add_either(*acme_renew_command, kAdminFile)->group("");
  add_admin(*acme_renew_command, acme_words.admin);
  add_token(*acme_renew_command, acme_words.admin);
  CLI::App* const version_command = app.add_subcommand("version", "Print the version");
  CLI::App* const completion_command =
      app.add_subcommand("completion", "Print what a shell needs to complete commands, options and files");
  std::string shell;
  completion_command->add_option("SHELL", shell, "bash, zsh or fish")
      ->option_text(" ")
      ->required()
      ->check(CLI::IsMember(shells()));
  CLI::App* const help_command = app.add_subcommand("help", "Print this help");
  bool manual = false;
  help_command->add_flag("--man", manual, "As the source of the manual page fiberd(1)");
  bool version = false;
  app.add_flag("--version", version, "Print the version");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ExtrasError& e) {
    (void)app.exit(e);
    say_what_was_meant(app);
    // Engines of containers know of health checks 0 and 1 alone.
    return code(health_command->parsed() ? ExitCode::runtime_failure : ExitCode::bad_usage);
  } catch (const CLI::ParseError& e) {
    if (app.exit(e) == 0) return printed();  // help
    return code(health_command->parsed() ? ExitCode::runtime_failure : ExitCode::bad_usage);
  }
  std::vector<std::string> overrides;
  for (const auto& set : sets) overrides.insert(overrides.end(), set.begin(), set.end());
  const auto complain = [&](const std::string& of) {
    const int usage = commands::complain(of);
    return health_command->parsed() ? code(ExitCode::runtime_failure) : usage;
  };
  std::string file;
  for (std::size_t i = 0; i < name_options.size(); ++i) {
    if (name_options[i]->count() == 0) continue;
    if (names[i].empty()) return complain("the configuration file's name is empty");
    if (!file.empty()) return complain("two configuration files, " + file + " and " + names[i] + ": one is read");
    file = names[i];
  }
  if (help_command->parsed() && manual)
    return (void)std::fputs(render_manual(words_of(app)).c_str(), stdout), printed();
  if (completion_command->parsed())
    return (void)std::fputs(render_completion(words_of(app), shell).c_str(), stdout), printed();
  if (help_command->parsed()) {
    app.clear();  // else it would be the help of help
    return (void)std::fputs(app.help().c_str(), stdout), printed();
  }
  if (version || version_command->parsed())
    return (void)std::printf("fiberd %s (commit %s)\n", kVersion.data(), kCommit.data()), printed();
  if (default_command->parsed()) return (void)std::fputs(program.default_config.c_str(), stdout), printed();
  if (schema_command->parsed()) {
    const std::string text = schema_manual ? config::render_schema_manual(kVersion)
                             : markdown    ? config::render_schema_markdown()
                                           : config::render_schema_yaml();
    return (void)std::fputs(text.c_str(), stdout), printed();
  }
  if (check_command->parsed()) {
    if (file.empty())
      return complain("check: FILE is required: the configuration to check\nRun with --help for more information.");
    check_words.file = file;
    check_words.overrides = overrides;
    return check(program, check_words);
  }
  if (reload_command->parsed()) {
    if (!overrides.empty())
      return complain(
          "reload: --set reaches no daemon that runs: it loads its file anew with the --set of its own start. Where "
          "its admin listener is says --address");
    reload_words.file = file;
    return reload(program, reload_words);
  }
  if (acme_list_command->parsed() || acme_renew_command->parsed()) {
    if (acme_renew_command->parsed() && !overrides.empty())
      return complain("acme renew: --set is for who runs a configuration; say --address");
    acme_words.admin.file = file;
    acme_words.overrides = overrides;
    return acme_list_command->parsed() ? acme_list(program, acme_words) : acme_renew(program, acme_words);
  }
  if (upgrade_command->parsed()) {
    if (!overrides.empty()) return complain("upgrade: --set is for who runs a configuration; say --address");
    return ask_to_upgrade(program, file, upgrade_options);
  }
  if (health_command->parsed()) {
    health_words.file = file;
    return healthcheck(program, health_words);
  }
  if (status_command->parsed() || top_command->parsed()) {
    const bool once = status_command->parsed();
    const std::string command = once ? "status" : "top";
    if (!overrides.empty()) return complain(command + ": --set is for who runs a configuration; say --address");
    const std::string& text = once ? status_interval : top_interval;
    const auto interval = parse_duration(text);
    if (!interval || *interval < top::Options::kShortest || *interval > top::Options::kLongest)
      return complain(command + ": --interval " + text + ": a time between 100ms and 1h");
    status_words.admin.file = top_words.file = file;
    status_words.interval = top_options.interval = *interval;
    if (once) return status(program, status_words);
    const auto sort = top::parse_sort(top_sort);
    if (!sort) return complain("top: --sort " + top_sort + ": there are rate, latency, errors, name, fibers and age");
    top_options.sort = *sort;
    return watch(program, top_words, top_options);
  }
  return run(program, file, overrides);
}

}  // namespace fiberd::daemon

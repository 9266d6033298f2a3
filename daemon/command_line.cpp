#include "daemon/command_line.hpp"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "config/config.hpp"
#include "config/handlers.hpp"
#include "config/reader.hpp"
#include "config/schema.hpp"
#include "core/base/units.hpp"
#include "core/net/endpoint.hpp"
#include "daemon/exit_code.hpp"
#include "daemon/failure.hpp"
#include "daemon/inheritance.hpp"
#include "daemon/provision.hpp"
#include "daemon/reload_command.hpp"
#include "daemon/run.hpp"
#include "daemon/signals.hpp"
#include "daemon/top/command.hpp"
#include "daemon/upgrade/command.hpp"
#include "daemon/upgrade/program.hpp"
#include "daemon/version.hpp"

namespace fiberd::daemon {

namespace {

struct Program {
  const Handlers& handlers;
  const std::string& default_config;
  bool own_default = false;
};

int code(ExitCode c) { return static_cast<int>(c); }

/// What was printed is buffered: only a flush tells whether it arrived (a full disk, a reader that is gone).
int printed() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code(ExitCode::clean);
  std::fprintf(stderr, "standard output cannot be written: %s\n", std::system_category().message(errno).c_str());
  return code(ExitCode::runtime_failure);
}

config::Outcome load(const Program& program, const std::string& file, const std::vector<std::string>& overrides,
                     NotRegular others = NotRegular::read) {
  config::Outcome outcome = file.empty() ? config::load_text(program.default_config, config::kBuiltIn, overrides)
                                         : config::load_file(file, overrides, others);
  config::check_handlers(outcome, program.handlers.names());
  return outcome;
}

/// All that is wrong with the file, and all that this machine lacks for it, in the order of the file.
ExitCode judge(const Program& program, config::Outcome& outcome, HasSocket has = {}) {
  ExitCode verdict = outcome.ok() ? ExitCode::clean : ExitCode::bad_usage;
  for (Flaw& flaw : provision(outcome, program.handlers, nullptr, std::move(has))) {
    // The configuration is to be mended first: an address may be another then.
    if (verdict == ExitCode::clean || flaw.code == ExitCode::bad_usage) verdict = flaw.code;
    outcome.diagnostics.push_back(std::move(flaw.diagnostic));
  }
  config::sort_by_place(outcome.diagnostics);
  for (const auto& diagnostic : outcome.diagnostics) std::fprintf(stderr, "%s\n", diagnostic.to_string().c_str());
  return verdict;
}

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

/// As the daemon and who asks it for a reload name it to each other, wherever they stand.
std::string absolute(const std::string& file) {
  if (file.empty()) return file;
  std::error_code nowhere;  // a directory that is gone
  const std::filesystem::path path = std::filesystem::absolute(file, nowhere);
  return nowhere ? file : path.string();
}

int complain(const std::string& of) {
  std::fprintf(stderr, "%s\n", of.c_str());
  return code(ExitCode::bad_usage);
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
  const ExitCode verdict =
      judge(program, outcome, [&](std::string_view listener, const std::string& address, bool datagrams) {
        return inherited.has(listener, address, datagrams);
      });
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

int check(const Program& program, const std::string& file, const std::vector<std::string>& overrides) {
  config::Outcome outcome = load(program, file, overrides);
  if (const ExitCode verdict = judge(program, outcome); verdict != ExitCode::clean) return code(verdict);
  for (const std::string& warning : forewarn(outcome.config)) std::fprintf(stderr, "warning: %s\n", warning.c_str());
  (void)std::printf("%s: ok\n", file.c_str());
  return printed();
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

/// Of `address`, or of the admin listener that the configuration names; with the token in `token_file`, or in the file
/// that the configuration names.
int reload(const Program& program, const std::string& file, const std::string& address, const std::string& token_file) {
  if (!address.empty()) return reload_by_admin({address, absolute(file), AddressSource::named, token_file});
  const config::Outcome outcome = load(program, file, {});
  // What is wrong with it the daemon says: but where it is must be known.
  const std::string& admin = outcome.config.admin.address;
  if (!outcome.ok() && (admin == config::AdminConfig{}.address || !net::Endpoint::parse(admin))) {
    for (const auto& diagnostic : outcome.diagnostics) std::fprintf(stderr, "%s\n", diagnostic.to_string().c_str());
    return complain("reload: such a file would be refused; nobody was asked");
  }
  if (admin.empty()) return complain("reload: the configuration has no admin listener: say --address, or send SIGHUP");
  return reload_by_admin({admin, absolute(file), file.empty() ? AddressSource::by_default : AddressSource::in_file,
                          token_file.empty() ? outcome.config.admin.token_file : token_file});
}

/// As reload: of --address, or of the admin listener that the configuration names.
int ask_to_upgrade(const Program& program, const std::string& file, const upgrade::CommandOptions& options) {
  if (!options.address.empty())
    return upgrade::run_command(options, {options.address, options.token_file, AddressSource::named});
  const config::Outcome outcome = load(program, file, {});
  const config::AdminConfig& admin = outcome.config.admin;
  if (!outcome.ok() && (admin.address == config::AdminConfig{}.address || !net::Endpoint::parse(admin.address))) {
    for (const auto& diagnostic : outcome.diagnostics) std::fprintf(stderr, "%s\n", diagnostic.to_string().c_str());
    return complain("upgrade: where the admin listener is cannot be read from that file: --address");
  }
  if (admin.address.empty())
    return complain("upgrade: the configuration has no admin listener: say --address, or send SIGUSR2");
  return upgrade::run_command(options,
                              {admin.address, options.token_file.empty() ? admin.token_file : options.token_file,
                               file.empty() ? AddressSource::by_default : AddressSource::in_file});
}

/// As reload: of `address`, or of the admin listener that the configuration names.
int watch(const Program& program, const std::string& file, const std::string& address, top::Options options) {
  if (!address.empty()) {
    options.address = address;
    return top::run_top(options);
  }
  const config::Outcome outcome = load(program, file, {});
  options.address = outcome.config.admin.address;
  options.source = file.empty() ? AddressSource::by_default : AddressSource::in_file;
  if (options.token_file.empty()) options.token_file = outcome.config.admin.token_file;
  if (!outcome.ok() && (options.address == config::AdminConfig{}.address || !net::Endpoint::parse(options.address))) {
    for (const auto& diagnostic : outcome.diagnostics) std::fprintf(stderr, "%s\n", diagnostic.to_string().c_str());
    return complain("top: where the admin listener is cannot be read from that file: --address");
  }
  if (options.address.empty()) return complain("top: the configuration has no admin listener: say --address");
  return top::run_top(options);
}

}  // namespace

int run_command_line(int argc, char** argv, const Handlers& handlers, const std::string& default_config) {
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
  (void)add_either(*check_command, "Configuration file (YAML)");
  CLI::App* const config_command = app.add_subcommand("config", "Print configuration");
  config_command->require_subcommand(1);
  CLI::App* const default_command = config_command->add_subcommand("default", "The built-in default, as YAML");
  CLI::App* const schema_command = config_command->add_subcommand("schema", "Every key: type, default, range, help");
  bool markdown = false;
  schema_command->add_flag("--markdown", markdown, "As docs/configuration.md");
  CLI::App* const reload_command =
      app.add_subcommand("reload", "Have the daemon that runs load its configuration anew");
  add_either(*reload_command,
             "Its configuration file, for where its admin listener is; a daemon of another file refuses")
      ->group("");  // refused below, with the reason
  std::string admin_address;
  reload_command
      ->add_option("--address", admin_address,
                   "Where its admin listener is; else what the file says, or 127.0.0.1:9090")
      ->option_text("ADMIN");
  CLI::App* const top_command = app.add_subcommand("top", "Show what a daemon that runs does, again and again");
  add_either(*top_command, "Its configuration file, for where its admin listener is")->group("");
  std::string top_address;
  std::string top_interval = "1s";
  std::string top_sort = "rate";
  bool top_once = false;
  bool top_json = false;
  top_command
      ->add_option("--address", top_address, "Where its admin listener is; else what the file says, or 127.0.0.1:9090")
      ->option_text("ADMIN");
  std::string top_token_file;
  top_command
      ->add_option("--token-file", top_token_file, "With the token that it asks for; else the file's admin.token_file")
      ->option_text("FILE");
  top_command->add_flag("--once", top_once, "Print one look and end; so it does where output is no terminal");
  top_command->add_flag("--json", top_json, "The same as JSON: rates, and the whole of /debug/status");
  top_command->add_option("--interval", top_interval, "Between two looks, 100ms to 1h; 1s")->option_text("TIME");
  top_command->add_option("--sort", top_sort, "By rate (the default), latency, errors, name, fibers or age")
      ->option_text("ORDER");
  std::string token_file;
  reload_command
      ->add_option("--token-file", token_file, "With the token that it asks for; else the file's admin.token_file")
      ->option_text("FILE");
  upgrade::CommandOptions upgrade_options;
  CLI::App* const upgrade_command = upgrade::add_command(app, upgrade_options);
  add_either(*upgrade_command, "Its configuration file, for where its admin listener is")->group("");
  CLI::App* const version_command = app.add_subcommand("version", "Print the version");
  CLI::App* const help_command = app.add_subcommand("help", "Print this help");
  bool version = false;
  app.add_flag("--version", version, "Print the version");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ExtrasError& e) {
    (void)app.exit(e);
    say_what_was_meant(app);
    return code(ExitCode::bad_usage);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? code(ExitCode::clean) : code(ExitCode::bad_usage);
  }
  std::vector<std::string> overrides;
  for (const auto& set : sets) overrides.insert(overrides.end(), set.begin(), set.end());
  std::string file;
  for (std::size_t i = 0; i < name_options.size(); ++i) {
    if (name_options[i]->count() == 0) continue;
    if (names[i].empty()) return complain("the configuration file's name is empty");
    if (!file.empty()) return complain("two configuration files, " + file + " and " + names[i] + ": one is read");
    file = names[i];
  }
  if (help_command->parsed()) {
    app.clear();  // else it would be the help of help
    return (void)std::fputs(app.help().c_str(), stdout), printed();
  }
  if (version || version_command->parsed())
    return (void)std::printf("fiberd %s (commit %s)\n", kVersion.data(), kCommit.data()), printed();
  if (default_command->parsed()) return (void)std::fputs(program.default_config.c_str(), stdout), printed();
  if (schema_command->parsed()) {
    const std::string text = markdown ? config::render_schema_markdown() : config::render_schema_yaml();
    return (void)std::fputs(text.c_str(), stdout), printed();
  }
  if (check_command->parsed()) {
    if (!file.empty()) return check(program, file, overrides);
    std::fprintf(stderr,
                 "check: FILE is required: the configuration to check\nRun with --help for more information.\n");
    return code(ExitCode::bad_usage);
  }
  if (reload_command->parsed()) {
    if (!overrides.empty())
      return complain(
          "reload: --set reaches no daemon that runs: it loads its file anew with the --set of its own start. Where "
          "its "
          "admin listener is says --address");
    return reload(program, file, admin_address, token_file);
  }
  if (upgrade_command->parsed()) {
    if (!overrides.empty()) return complain("upgrade: --set is for who runs a configuration; say --address");
    return ask_to_upgrade(program, file, upgrade_options);
  }
  if (top_command->parsed()) {
    if (!overrides.empty()) return complain("top: --set is for who runs a configuration; say --address");
    const auto interval = parse_duration(top_interval);
    if (!interval || *interval < top::Options::kShortest || *interval > top::Options::kLongest)
      return complain("top: --interval " + top_interval + ": a time between 100ms and 1h");
    const auto sort = top::parse_sort(top_sort);
    if (!sort) return complain("top: --sort " + top_sort + ": there are rate, latency, errors, name, fibers and age");
    return watch(program, file, top_address,
                 {.address = {},
                  .token_file = top_token_file,
                  .interval = *interval,
                  .once = top_once,
                  .json = top_json,
                  .sort = *sort});
  }
  return run(program, file, overrides);
}

}  // namespace fiberd::daemon

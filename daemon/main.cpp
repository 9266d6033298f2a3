// The command line: fiberd [run] [-c FILE] [--set key=value]…, check FILE, config default|schema, version.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "config/schema.hpp"
#include "daemon/lifecycle.hpp"
#include "daemon/version.hpp"

using fiberd::daemon::ExitCode;

static int code(ExitCode c) { return static_cast<int>(c); }

static fiberd::config::Outcome load(const std::string& file, const std::vector<std::string>& overrides) {
  return file.empty() ? fiberd::config::load_text(fiberd::config::default_config(), "built-in", overrides)
                      : fiberd::config::load_file(file, overrides);
}

static void print_diagnostics(const fiberd::config::Outcome& outcome) {
  for (const auto& diagnostic : outcome.diagnostics) std::fprintf(stderr, "%s\n", diagnostic.to_string().c_str());
}

static int run(const std::string& file, const std::vector<std::string>& overrides) {
  const fiberd::config::Outcome outcome = load(file, overrides);
  if (!outcome.ok()) {
    print_diagnostics(outcome);
    return code(ExitCode::bad_usage);
  }
  return code(fiberd::daemon::run_daemon(outcome.config));
}

static int check(const std::string& file, const std::vector<std::string>& overrides) {
  const fiberd::config::Outcome outcome = load(file, overrides);
  print_diagnostics(outcome);
  if (!outcome.ok()) return code(ExitCode::bad_usage);
  std::printf("%s: ok\n", file.c_str());
  return code(ExitCode::clean);
}

int main(int argc, char** argv) {
  CLI::App app{"fiberd: a TCP and HTTP server on fibers"};
  app.require_subcommand(0, 1);
  std::string file;
  std::vector<std::string> overrides;
  auto add_run_options = [&](CLI::App& command) {
    command.add_option("-c,--config", file, "Configuration file (YAML); without it the built-in default");
    command.add_option("--set", overrides, "key=value: replaces one key, e.g. --set runtime.gomaxprocs=2")
        ->allow_extra_args(false)
        ->take_all();
  };
  add_run_options(app);
  CLI::App* const run_command = app.add_subcommand("run", "Run the server (the default)");
  add_run_options(*run_command);
  CLI::App* const check_command = app.add_subcommand("check", "Check a configuration file and say all that is wrong");
  std::string check_file;
  check_command->add_option("FILE", check_file, "Configuration file")->required();
  check_command->add_option("--set", overrides, "key=value")->allow_extra_args(false)->take_all();
  CLI::App* const config_command = app.add_subcommand("config", "Print configuration");
  config_command->require_subcommand(1);
  CLI::App* const default_command = config_command->add_subcommand("default", "The built-in default, as YAML");
  CLI::App* const schema_command = config_command->add_subcommand("schema", "Every key: type, default, range, help");
  bool markdown = false;
  schema_command->add_flag("--markdown", markdown, "As docs/configuration.md");
  CLI::App* const version_command = app.add_subcommand("version", "Print the version");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? code(ExitCode::clean) : code(ExitCode::bad_usage);
  }
  if (version_command->parsed()) return std::printf("fiberd %s\n", fiberd::daemon::kVersion.data()) < 0 ? 1 : 0;
  if (default_command->parsed()) return std::fputs(fiberd::config::default_config().c_str(), stdout) < 0 ? 1 : 0;
  if (schema_command->parsed()) {
    const std::string text = markdown ? fiberd::config::render_schema_markdown() : fiberd::config::render_schema_yaml();
    return std::fputs(text.c_str(), stdout) < 0 ? 1 : 0;
  }
  if (check_command->parsed()) return check(check_file, overrides);
  return run(file, overrides);
}

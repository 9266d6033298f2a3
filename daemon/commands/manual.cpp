#include "daemon/commands/manual.hpp"

#include "config/roff.hpp"
#include "core/base/characters.hpp"
#include "daemon/version.hpp"

namespace fiberd::daemon::commands {

using config::roff;

// What no table of ours has: kept beside docs/operations.md and docs/commands.md.
static constexpr std::string_view kDescription = R"(.SH DESCRIPTION
.B fiberd
serves HTTP and TCP on stackful fibers, from one YAML file that
.BR fiberd.yaml (5)
describes.
Without a command it runs the server, and without a file the configuration that
.B fiberd config default
prints.
.B reload, status, top
and
.B upgrade
ask the administration listener of a daemon that runs: where
.B \-\-address
says, or the file of
.BR \-c ,
or at 127.0.0.1:9090.
)";

static constexpr std::string_view kEnd = R"(.SH EXIT STATUS
.TP
.B 0
Done; of
.BR run :
stopped as asked.
.TP
.B 1
It failed: the daemon cannot be asked, standard output cannot be written, the runtime failed.
Of
.BR healthcheck :
not ready, for whatever reason.
.TP
.B 2
Bad usage or configuration; a token that is missing or another.
.TP
.B 3
An address cannot be bound
.RB ( run ),
or is not this machine's
.RB ( check ).
.SH SIGNALS
.TP
.B SIGTERM, SIGINT
Stop in order; a second one, a tenth of a second later or more, cuts what is left.
.TP
.B SIGHUP
Reload: the configuration is loaded anew and takes over while the daemon serves.
.TP
.B SIGUSR1
Opens the log and the access logs anew, after
.BR logrotate (8)
has moved them.
.TP
.B SIGUSR2
Upgrade: a new process follows this one, without a connection lost.
.TP
.B SIGQUIT
Writes all fibers with their stacks to the log, and goes on.
.TP
.B SIGABRT
The same, and then the process dies by it.
.SH ENVIRONMENT
.TP
.B GOMAXPROCS
How many fibers run at the same time; wins over the file's runtime.gomaxprocs.
.TP
.B NO_COLOR
No colours on terminals.
.TP
.B NOTIFY_SOCKET, LISTEN_FDS, WATCHDOG_USEC
What
.BR systemd (1)
says.
.SH FILES
.TP
.I /etc/fiberd/fiberd.yaml
The configuration of
.IR fiberd.service .
.TP
.I /run/fiberd/admin.sock
Its administration listener.
.TP
.I /var/lib/fiberd, /var/log/fiberd
What it keeps, and access logs.
.TP
.I /usr/share/doc/fiberd
Examples, and docs/ with more on all of this.
.SH SEE ALSO
.BR fiberd.yaml (5)
)";

static std::string title_of(std::string_view name) {
  std::string out;
  for (const char c : name) out += ascii::is_lower(c) ? static_cast<char>(c - 'a' + 'A') : c;
  return out;
}

/// -c, --config FILE: names bold, the value in italics.
static std::string tag_of(const OptionWords& option) {
  std::string out;
  for (const std::string& name : option.names) out += (out.empty() ? "\\fB" : ", \\fB") + roff(name) + "\\fP";
  if (!option.value.empty()) out += (out.empty() ? "\\fI" : " \\fI") + roff(option.value) + "\\fP";
  return out;
}

/// That there is help is said once.
static void add_options(std::string& out, const CommandWords& command, bool with_help) {
  for (const OptionWords& option : command.options)
    if (with_help || option.names.empty() || option.names.back() != "--help")
      out += ".TP\n" + tag_of(option) + "\n" + roff(option.help) + ".\n";
}

/// Under `before`, which is what was written before its name.
static void add_command(std::string& out, const CommandWords& command, const std::string& before) {
  const std::string name = before + command.name;
  out += ".SS " + roff(name) + "\n" + roff(command.help) + ".\n";
  add_options(out, command, false);
  for (const CommandWords& below : command.commands) add_command(out, below, name + " ");
}

std::string render_manual(const CommandWords& program) {
  const std::string name = roff(program.name);
  std::string out = config::roff_title(title_of(name), 1, kVersion);
  out += ".SH NAME\n" + name + " \\- HTTP and TCP server on fibers\n.SH SYNOPSIS\n";
  out += ".B " + name + "\n.RB [ run ]\n.RB [ \\-c\n.IR FILE ]\n.RB [ \\-\\-set\n.IR KEY=VALUE ]...\n";
  for (const CommandWords& command : program.commands) {
    if (command.name == "run") continue;
    out += ".br\n.B " + name + " " + roff(command.name) + "\n";
    for (const OptionWords& option : command.options)
      if (option.names.empty()) out += ".RI [ " + roff(option.value) + " ]\n";
    if (!command.commands.empty()) out += ".I COMMAND\n";
    out += ".RI [ option ...]\n";
  }
  out += kDescription;
  out += ".SH OPTIONS\n";
  add_options(out, program, true);
  out += ".SH COMMANDS\n";
  for (const CommandWords& command : program.commands) add_command(out, command, "");
  out += kEnd;
  return out;
}

}  // namespace fiberd::daemon::commands

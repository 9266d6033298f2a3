#include "config/manual.hpp"

#include "config/roff.hpp"
#include "config/schema.hpp"

namespace fiberd::config {

static constexpr std::string_view kBegin = R"(.SH NAME
fiberd.yaml \- configuration of fiberd, an HTTP and TCP server
.SH DESCRIPTION
One YAML file.
.B fiberd check \fIFILE\fP
says everything that is wrong with it at once, with file, line and column.
.B fiberd config default
prints the configuration that runs without a file, and
.B fiberd check \-\-show \fIFILE\fP
what is in effect.
Keys that are not listed here, and those that are written twice, are refused, and so are anchors and aliases.
.PP
Durations need a unit: 250us, 10ms, 1.5s, 5m, 1h, 1d; 1m30s has parts from the greatest down.
Sizes are binary: 512, 16KiB, 1MiB, 2GiB.
Rates say per what: 100/s, 30/m, 5/h.
.B \(dq${NAME}\(dq
and
.B \(dq${NAME:\-default}\(dq
in a value are of the environment.
Values whose meaning says so may hold request variables: ${host}, ${path}, ${rest}, ${query}, ${method}, ${scheme},
${client}, ${request_id}, ${header.NAME}; $$ is a dollar sign.
.PP
A reload
.RB ( "systemctl reload fiberd" ,
.BR "fiberd reload" ,
SIGHUP) changes all keys but those that are marked: these need a restart.
.SH KEYS
A list's elements are written [].
)";

static constexpr std::string_view kEnd = R"(.SH FILES
.TP
.I /etc/fiberd/fiberd.yaml
What
.I fiberd.service
runs.
.TP
.I /etc/fiberd/NAME.yaml
What
.I fiberd@NAME.service
runs.
.SH EXAMPLES
.EX
admin: {address: "unix:/run/fiberd/admin.sock"}
listeners:
  \- name: web
    address: "0.0.0.0:8080"
    http: {routes: [{path: /, respond: {body: "hello"}}]}
.EE
.SH SEE ALSO
.BR fiberd (1)
)";

static std::string description_of(const Row& row) {
  std::string out = std::string(to_string(row.type));
  if (const std::string allowed = allowed_by(row); !allowed.empty())
    out += (row.type == Type::choice ? " " : ", ") + allowed;
  if (!row.fallback.empty()) out += "; default " + std::string(row.fallback);
  if (!row.reloadable) out += "; needs a restart";
  return out;
}

std::string render_schema_manual(std::string_view version) {
  std::string out = roff_title("FIBERD.YAML", 5, version);
  out += kBegin;
  std::string_view chapter;
  for (const Row& row : schema()) {
    if (!is_available(row)) continue;
    const std::string_view top = row.path.substr(0, row.path.find_first_of(".["));
    if (top != chapter) out += ".SS " + roff(top) + "\n";
    chapter = top;
    out += ".TP\n.B " + roff(row.path) + "\n";
    // What stands in it follows; that it is a section is seen.
    const bool holder = row.type == Type::section || row.type == Type::list;
    if (!holder || !row.reloadable) out += "(\\fI" + roff(description_of(row)) + "\\fP)\n";
    if (!row.help.empty()) out += (holder ? "" : ".br\n") + roff(row.help) + "\n";
  }
  out += kEnd;
  return out;
}

}  // namespace fiberd::config

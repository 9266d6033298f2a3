// From text to Config: tree → overrides → sections by the schema → rules between keys. Everything goes on after an
// error, so that one run says all that is wrong.
#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <map>
#include <string_view>

#include "config/addresses.hpp"
#include "config/config.hpp"
#include "config/load_aggregate.hpp"
#include "config/load_flow.hpp"
#include "config/load_http.hpp"
#include "config/overrides.hpp"
#include "config/reader.hpp"
#include "config/text_rules.hpp"
#include "config/tree.hpp"

namespace fiberd::config {

std::string Diagnostic::to_string() const {
  std::string out = source;
  if (line != 0) out += ":" + std::to_string(line) + ":" + std::to_string(column);
  if (!out.empty()) out += ": ";
  if (!key.empty()) out += key + ": ";
  return out + message;
}

Diagnostic diagnostic_at(const Place& place, std::string message) {
  return {place.source, place.line, place.column, place.key, std::move(message)};
}

void sort_by_place(std::vector<Diagnostic>& diagnostics) {
  std::stable_sort(diagnostics.begin(), diagnostics.end(), [](const Diagnostic& a, const Diagnostic& b) {
    return std::pair(a.line, a.column) < std::pair(b.line, b.column);
  });
}

namespace {

KeepAliveConfig read_keep_alive(const Reader& r) {
  KeepAliveConfig k{{}, {}, static_cast<int>(r.number("count"))};
  const auto seconds = [&](const char* key) {
    const std::chrono::nanoseconds time = r.duration(key);
    const auto whole = std::chrono::duration_cast<std::chrono::seconds>(time);
    if (whole != time) r.report(key, "must be whole seconds");
    return whole;
  };
  k.idle = seconds("idle");
  k.interval = seconds("interval");
  for (const std::string_view key : {std::string_view("interval"), std::string_view("count")})
    if (r.has(key) && k.idle.count() == 0) r.report(key, "is of probes, and idle: 0s sends none");
  return k;
}

TcpConfig read_tcp(const Reader& tcp, bool unix_socket) {
  TcpConfig c;
  const bool echo = tcp.has("echo");
  const bool discard = tcp.has("discard");
  const bool handler = tcp.has("handler");
  if (int{echo} + int{discard} + int{handler} != 1) tcp.report("", "needs exactly one of echo, discard, handler");
  if (echo) (void)tcp.section("echo");
  if (discard) (void)tcp.section("discard");
  if (handler) c.handler = read_handler(tcp);
  c.service = handler ? TcpService::handler : discard ? TcpService::discard : TcpService::echo;
  const Reader t = tcp.section("timeouts");
  c.idle_timeout = t.duration("idle");
  c.flow = read_flow(tcp, FlowOf::connections);
  if (handler && c.idle_timeout.count() != 0) t.report("idle", "is not for handler, which sets deadlines of its own");
  const Reader l = tcp.section("limits");
  c.connections = l.number("connections");
  c.connections_per_address = l.number("connections_per_address");
  if (unix_socket && c.connections_per_address != 0)
    l.report("connections_per_address", "is not for unix: addresses, whose clients have none");
  return c;
}

ListenerConfig read_listener(const Reader& l) {
  ListenerConfig c;
  c.name = l.text("name");
  if (c.name.empty()) {
    l.report("name", "is required");
  } else if (!is_token(c.name) || c.name.size() > 64) {
    l.report("name", "must be a word of at most 64 characters");
  } else if (c.name == "admin") {
    l.report("name", "admin is the admin listener's name");
  }
  c.address = l.text("address");
  c.address_at = l.place("address");
  if (c.address.empty())
    l.report("address", "is required");
  else if (const std::string wrong = check_address(c.address); !wrong.empty())
    l.report("address", wrong);
  c.addresses.push_back({.text = c.address, .at = c.address_at});
  const bool is_unix = c.address.starts_with("unix:");
  for (const std::string_view key : {std::string_view("mode"), std::string_view("owner")})
    if (l.has(key) && !is_unix) l.report(key, "is for unix: addresses only");
  for (const std::string_view key :
       {std::string_view("reuseport"), std::string_view("defer_accept"), std::string_view("keepalive")})
    if (l.has(key) && is_unix) l.report(key, "is not for unix: addresses");
  c.mode = static_cast<std::uint32_t>(l.number("mode"));
  c.owner = l.text("owner");
  c.owner_at = l.place("owner");
  c.reuseport = l.boolean("reuseport");
  if (l.has("defer_accept")) c.defer_accept = l.boolean("defer_accept");
  c.backlog = static_cast<unsigned>(l.number("backlog"));
  c.keep_alive = read_keep_alive(l.section("keepalive"));
  const bool http = l.has("http");
  const bool tcp = l.has("tcp");
  const bool aggregate = l.has("aggregate");
  if (int{http} + int{tcp} + int{aggregate} != 1) l.report("", "needs exactly one of http, tcp, aggregate");
  if (http) c.service = read_http(l.section("http"), is_unix);
  if (tcp && !http) c.service = read_tcp(l.section("tcp"), is_unix);
  if (aggregate && !http && !tcp) c.service = read_aggregate(l.section("aggregate"), l, c);
  return c;
}

Outcome load(Tree tree, const std::vector<std::string>& overrides, std::vector<Diagnostic> diagnostics) {
  Outcome out;
  out.diagnostics = std::move(diagnostics);
  // Else all of it would be missing.
  const bool readable = tree.kind == Tree::Kind::mapping && (out.diagnostics.empty() || !tree.entries.empty());
  for (const std::string& o : overrides) apply_override(tree, o, out.diagnostics);
  const Reader root(&tree, nullptr, "", "", out.diagnostics);
  Config& c = out.config;
  const Reader runtime = root.section("runtime");
  c.runtime = {static_cast<unsigned>(runtime.number("gomaxprocs")),
               runtime.number("stack_size"),
               runtime.number("small_stack_size"),
               runtime.number("large_stack_size"),
               static_cast<StackGuards>(runtime.choice("stack_guards")),
               static_cast<unsigned>(runtime.number("blocking_threads")),
               static_cast<unsigned>(runtime.number("handoff_max")),
               static_cast<unsigned>(runtime.number("machines_max")),
               runtime.place("gomaxprocs")};
  for (const auto& [key, size] :
       {std::pair{"stack_size", c.runtime.stack_size}, std::pair{"small_stack_size", c.runtime.small_stack_size},
        std::pair{"large_stack_size", c.runtime.large_stack_size}})
    if (size % 4096 != 0 && size >= 16 * 1024) runtime.report(key, "must be a multiple of 4KiB");
  c.memory.limit = root.section("memory").number("limit");
  const Reader file_cache = root.section("file_cache");
  c.file_cache = {file_cache.number("files"), file_cache.number("memory"), file_cache.duration("age")};
  const Reader log = root.section("log");
  c.log = {static_cast<LogLevel>(log.choice("level")), static_cast<LogFormat>(log.choice("format")), log.text("output"),
           log.place("output")};
  if (const std::string wrong = check_file_path(c.log.output); !wrong.empty())
    log.report("output", wrong + "; stderr, stdout or a path");
  else if (const std::string_view variable = find_variable(c.log.output); !variable.empty())
    log.report("output", unknown_variable(variable, "write the path itself"));
  const Reader shutdown = root.section("shutdown");
  c.shutdown = {shutdown.duration("delay"), shutdown.duration("timeout"), shutdown.duration("idle")};
  if (shutdown.has("idle") && c.shutdown.idle > c.shutdown.timeout)
    shutdown.report("idle", "is longer than shutdown.timeout, which cuts whoever still waits");
  const Reader admin = root.section("admin");
  c.admin.address = admin.text("address");
  c.admin.address_at = admin.place("address");
  c.admin.by_default = !admin.has("address");
  if (c.admin.address == "off") {
    c.admin.address.clear();
  } else if (const std::string wrong = check_address(c.admin.address); !wrong.empty()) {
    admin.report("address", wrong + ", or off");
  }
  for (const std::string_view key : {std::string_view("mode"), std::string_view("owner")})
    if (admin.has(key) && !c.admin.address.starts_with("unix:")) admin.report(key, "is for unix: addresses only");
  c.admin.mode = static_cast<std::uint32_t>(admin.number("mode"));
  c.admin.owner = admin.text("owner");
  c.admin.owner_at = admin.place("owner");
  c.admin.hosts = read_hosts(admin);
  if (!c.admin.hosts.empty() && admin.text("address") == "off")
    admin.report("hosts", "is for an address, and there is none: address is off");
  if (!c.admin.hosts.empty() && c.admin.address.starts_with("unix:"))
    admin.report("hosts", "is not for unix: addresses, which answer whatever the Host");
  std::map<std::string, std::string> names;
  const std::size_t listeners = root.list("listeners", [&](Reader& item) {
    ListenerConfig l = read_listener(item);
    if (!l.name.empty() && !names.emplace(l.name, item.path()).second)
      item.report("name", "a second listener named " + l.name);
    c.listeners.push_back(std::move(l));
  });
  if (listeners == 0 && readable) root.report("listeners", "at least one listener is needed");
  settle_addresses(c, out.diagnostics);
  sort_by_place(out.diagnostics);
  return out;
}

}  // namespace

Outcome load_text(const std::string& text, const std::string& source, const std::vector<std::string>& overrides) {
  std::vector<Diagnostic> diagnostics;
  Tree tree = parse_yaml(text, source, diagnostics);
  // With YAML that cannot be read there is nothing more to say; duplicate keys alone leave a tree that can be checked.
  if (!diagnostics.empty() && tree.entries.empty()) return {{}, std::move(diagnostics)};
  Outcome out = load(std::move(tree), overrides, std::move(diagnostics));
  out.config.source = source;
  return out;
}

Outcome load_file(const std::string& path, const std::vector<std::string>& overrides) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  std::string text(kMaxFile + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!in.is_open() || in.bad() || (in.gcount() == 0 && errno != 0)) {
    const int error = errno != 0 ? errno : EIO;
    return {{}, {{path, 0, 0, "", "cannot be read: " + std::error_code(error, std::system_category()).message()}}};
  }
  text.resize(static_cast<std::size_t>(in.gcount()));
  return load_text(text, path, overrides);
}

const std::string& default_config() {
  static const std::string text =
      "# What fiberd runs without -c. `fiberd config schema` tells every key.\n"
      "runtime: {gomaxprocs: auto}\n"
      "log: {level: info, format: text, output: stderr}\n"
      "shutdown: {delay: 0s, timeout: 30s}\n"
      "# admin: {address: \"127.0.0.1:9090\"}   # the default; unless it is written, another's port there is only a "
      "warning\n"
      "listeners:\n"
      "  - name: web\n"
      "    address: \"0.0.0.0:8080\"\n"
      "    http:\n"
      "      routes:\n"
      "        - {path: /, respond: {body: \"Hello, World!\", content_type: text/plain}}\n"
      "        - {path: /echo, echo: {}}\n"
      "        # A site: - {path: /files/*, files: {root: ./site, index: [index.html]}}\n"
      "  - {name: echo, address: \"0.0.0.0:7000\", tcp: {echo: {}}}\n";
  return text;
}

}  // namespace fiberd::config

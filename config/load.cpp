// From text to Config: tree → overrides → sections by the schema → rules between keys. Everything goes on after an
// error, so that one run says all that is wrong.
#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <system_error>
#include <tuple>

#include "config/addresses.hpp"
#include "config/config.hpp"
#include "config/include.hpp"
#include "config/load_acme.hpp"
#include "config/load_admin.hpp"
#include "config/load_listener.hpp"
#include "config/load_log.hpp"
#include "config/load_tracing.hpp"
#include "config/load_upgrade.hpp"
#include "config/overrides.hpp"
#include "config/reader.hpp"
#include "config/shorthand.hpp"
#include "config/show.hpp"
#include "config/text_rules.hpp"
#include "config/tree.hpp"
#include "core/base/printable.hpp"

namespace fiberd::config {

std::string Diagnostic::to_string() const {
  std::string out = source;
  if (line != 0) out += ":" + std::to_string(line) + ":" + std::to_string(column);
  if (!out.empty()) out += ": ";
  if (!key.empty()) out += key + ": ";
  return in_one_line(out + message);
}

Diagnostic diagnostic_at(const Place& place, std::string message) {
  return {place.source, place.line, place.column, place.key, std::move(message)};
}

void sort_by_place(std::vector<Diagnostic>& diagnostics) {
  // Files in the order in which something of them is told; what stands in no line before all.
  std::map<std::string, std::size_t> files;
  for (const Diagnostic& d : diagnostics) files.emplace(d.source, files.size());
  const auto where = [&](const Diagnostic& d) {
    return std::tuple(d.line == 0 ? 0 : files.find(d.source)->second + 1, d.line, d.column);
  };
  std::stable_sort(diagnostics.begin(), diagnostics.end(),
                   [&](const Diagnostic& a, const Diagnostic& b) { return where(a) < where(b); });
}

namespace {

/// One cause is told once: what follows from it is left out.
void drop_consequences(std::vector<Diagnostic>& diagnostics) {
  std::map<std::pair<std::string, std::string>, std::size_t> causes;  // of source and key
  for (std::size_t i = 0; i < diagnostics.size(); ++i)
    if (diagnostics[i].decides) causes.emplace(std::pair(diagnostics[i].source, diagnostics[i].key), i);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < diagnostics.size(); ++i) {
    const auto cause = causes.find(std::pair(diagnostics[i].source, diagnostics[i].key));
    if (cause != causes.end() && cause->second != i) continue;
    if (kept != i) diagnostics[kept] = std::move(diagnostics[i]);
    ++kept;
  }
  diagnostics.resize(kept);
}

/// What is right alone and wrong together with what stands elsewhere.
void check_proxies(const Config& c, const std::vector<Place>& proxy_protocol, std::vector<Diagnostic>& diagnostics) {
  for (std::size_t i = 0; i < c.listeners.size(); ++i)
    if (c.listeners[i].proxy_protocol != ProxyProtocol::off && c.trusted_proxies.texts.empty())
      diagnostics.push_back(diagnostic_at(proxy_protocol[i],
                                          "needs trusted_proxies: without, nobody is believed who the client is, and "
                                          "each connection would be refused or its header taken for a request"));
}

TraceConfig read_trace(const Reader& r) {
  TraceConfig t;
  t.buffer = r.number("buffer");
  t.min_age = r.duration("min_age");
  t.on_latency = r.duration("on_latency");
  t.on_stall = r.boolean("on_stall");
  t.directory = r.text("directory");
  t.directory_at = r.place("directory");
  t.max_files = static_cast<unsigned>(r.number("max_files"));
  t.max_bytes = r.number("max_bytes");
  t.interval = r.duration("interval");
  if (t.buffer != 0 && t.buffer < 32 * 1024) r.report("buffer", "is 32KiB at least, or 0 for none");
  const bool wanted = t.on_latency.count() != 0 || t.on_stall;
  if (wanted && t.directory.empty())
    r.report(t.on_stall ? "on_stall" : "on_latency", "needs trace.directory, where the files go");
  if (wanted && t.buffer == 0)
    r.report(t.on_stall ? "on_stall" : "on_latency", "needs a trace.buffer: with 0 nothing is recorded");
  if (!t.directory.empty() && !wanted)
    r.report("directory", "is for trace.on_latency or trace.on_stall, and neither is set");
  if (!t.directory.empty()) {
    if (const std::string wrong = check_file_path(t.directory); !wrong.empty())
      r.report("directory", wrong);
    else if (const std::string_view variable = find_variable(t.directory); !variable.empty())
      r.report("directory", unknown_variable(variable, "write the path itself"));
  }
  return t;
}

/// What --set and included files change in the tree; `read`: which files those are.
void assemble(Tree& tree, const std::vector<std::string>& overrides, std::vector<Diagnostic>& diagnostics,
              Config& read) {
  // Listeners of other files come behind those of this one, and --set can name them, too.
  const auto is_include = [](const std::string& o) { return o.starts_with("include=") || o.starts_with("include["); };
  for (const std::string& o : overrides)
    if (is_include(o)) apply_override(tree, o, diagnostics);
  include_files(tree, diagnostics, read);
  for (const std::string& o : overrides)
    if (!is_include(o)) apply_override(tree, o, diagnostics);
  spell_out(tree);
}

Outcome load(Tree tree, const std::vector<std::string>& overrides, std::vector<Diagnostic> diagnostics,
             std::uint64_t digest) {
  Outcome out;
  out.config.digest = digest;
  out.diagnostics = std::move(diagnostics);
  // Else all of it would be missing.
  out.readable = tree.kind == Tree::Kind::mapping && (out.diagnostics.empty() || !tree.entries.empty());
  assemble(tree, overrides, out.diagnostics, out.config);
  const Reader root(&tree, nullptr, "", "", out.diagnostics);
  (void)root.strings("include");  // what is wrong with it
  Config& c = out.config;
  const Reader files = root.section("config");
  c.config.watch = files.boolean("watch");
  if (c.config.watch && tree.source == kBuiltIn)
    files.report("watch", "is for a configuration's file, and this one is built in: -c FILE");
  const Reader runtime = root.section("runtime");
  c.runtime = {static_cast<unsigned>(runtime.number("gomaxprocs")),
               runtime.number("stack_size"),
               runtime.number("small_stack_size"),
               runtime.number("large_stack_size"),
               static_cast<StackGuards>(runtime.choice("stack_guards")),
               runtime.choice("stack_learning") == 1,
               runtime.duration("stack_trim_after"),
               static_cast<unsigned>(runtime.number("blocking_threads")),
               static_cast<unsigned>(runtime.number("handoff_max")),
               static_cast<unsigned>(runtime.number("machines_max")),
               runtime.place("gomaxprocs")};
  for (const auto& [key, size] :
       {std::pair{"stack_size", c.runtime.stack_size}, std::pair{"small_stack_size", c.runtime.small_stack_size},
        std::pair{"large_stack_size", c.runtime.large_stack_size}})
    if (size % 4096 != 0 && size >= 16 * 1024) runtime.report(key, "must be a multiple of 4KiB");
  const Reader profiles = root.section("profiles");
  c.profiles = {profiles.number("heap_rate"), profiles.duration("block_rate"),
                static_cast<unsigned>(profiles.number("mutex_fraction"))};
  const Reader memory = root.section("memory");
  c.memory = {memory.number("limit"), memory.choice("governor") == 0, static_cast<unsigned>(memory.number("trim_at")),
              static_cast<unsigned>(memory.number("shed_at"))};
  if (c.memory.trim_at >= c.memory.shed_at)
    memory.report(memory.has("shed_at") ? "shed_at" : "trim_at",
                  "memory is given back before anybody is turned away: trim_at (" + std::to_string(c.memory.trim_at) +
                      ") must be less than shed_at (" + std::to_string(c.memory.shed_at) + ")");
  if (!c.memory.governor)
    for (const std::string_view key :
         {std::string_view("limit"), std::string_view("trim_at"), std::string_view("shed_at")})
      if (memory.has(key)) memory.report(key, "has no effect: memory.governor is off");
  const Reader trace = root.section("trace");
  c.trace = read_trace(trace);
  c.tracing = read_tracing(root.section("tracing"));
  const Reader file_cache = root.section("file_cache");
  c.file_cache = {file_cache.number("files"), file_cache.number("memory"), file_cache.duration("age")};
  c.log = read_log(root.section("log"));
  const Reader shutdown = root.section("shutdown");
  c.shutdown = {shutdown.duration("delay"), shutdown.duration("timeout"), shutdown.duration("idle")};
  if (shutdown.has("idle") && c.shutdown.idle > c.shutdown.timeout)
    shutdown.report("idle", "is longer than shutdown.timeout, which cuts whoever still waits");
  c.upgrade = read_upgrade(root.section("upgrade"));
  const Reader leaks = root.section("leaks");
  c.leaks = {leaks.duration("threshold"), leaks.strings("ignore")};
  c.admin = read_admin(root.section("admin"));
  c.metrics = read_metrics(root.section("metrics"));
  c.trusted_proxies = read_ranges(root, "trusted_proxies");
  for (const std::string& key : runtime.keys())
    if (const Row* const row = find_row("runtime." + key); row != nullptr && !row->reloadable)
      c.fixed_at.push_back(runtime.place(key));
  for (const std::string_view key : {std::string_view("buffer"), std::string_view("min_age")})
    if (trace.has(key)) c.fixed_at.push_back(trace.place(key));
  std::map<std::string, std::string> names;
  std::vector<Place> proxy_protocol;
  const std::size_t listeners = root.list("listeners", [&](Reader& item) {
    ListenerConfig l = read_listener(item, c.trusted_proxies);
    if (!l.name.empty() && !names.emplace(l.name, item.path()).second)
      item.report("name", "a second listener named " + l.name);
    if (l.name == "metrics" && !c.metrics.addresses.empty())
      item.report("name", "metrics is the name of what metrics.address listens with");
    c.listeners.push_back(std::move(l));
    proxy_protocol.push_back(item.place("proxy_protocol"));
  });
  if (listeners == 0 && out.readable) root.report("listeners", "at least one listener is needed");
  settle_addresses(c, out.diagnostics);
  check_proxies(c, proxy_protocol, out.diagnostics);
  check_acme(c, out.diagnostics);
  drop_consequences(out.diagnostics);
  sort_by_place(out.diagnostics);
  return out;
}

}  // namespace

Outcome load_text(const std::string& text, const std::string& source, const std::vector<std::string>& overrides) {
  std::vector<Diagnostic> diagnostics;
  Tree tree = parse_yaml(text, source, diagnostics);
  Outcome out;
  add_to_digest(out.config.digest, source, text);
  // With YAML that cannot be read there is nothing more to say; duplicate keys alone leave a tree that can be checked.
  if (!diagnostics.empty() && tree.entries.empty()) {
    out.diagnostics = std::move(diagnostics);
    out.readable = false;
    return out;
  }
  out = load(std::move(tree), overrides, std::move(diagnostics), out.config.digest);
  out.config.source = source;
  return out;
}

std::string show_text(const std::string& text, const std::string& source, const std::vector<std::string>& overrides) {
  std::vector<Diagnostic> diagnostics;
  Tree tree = parse_yaml(text, source, diagnostics);
  Config read;
  assemble(tree, overrides, diagnostics, read);
  return diagnostics.empty() ? show(tree) : std::string();
}

Outcome load_file(const std::string& path, const std::vector<std::string>& overrides, NotRegular others) {
  const Result<std::string> text = read_file(path, kMaxFile + 1, others);
  if (!text) {
    Outcome out;
    out.diagnostics.push_back({path, 0, 0, "", "cannot be read: " + why_unreadable(text.error())});
    out.readable = false;
    add_to_digest(out.config.digest, {}, out.diagnostics.back().message);
    return out;
  }
  return load_text(*text, path, overrides);
}

const std::string& default_config() {
  static const std::string text =
      "# What fiberd runs without -c. `fiberd config schema` tells every key.\n"
      "runtime: {gomaxprocs: auto}\n"
      "log: {level: info, format: text, output: auto}\n"
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

// Each row of the table against the loader: its default, both ends of its range, what lies beyond, the wrong type.
#include "config/schema.hpp"

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>

#include "config/config.hpp"
#include "core/base/units.hpp"

using namespace fiberd::config;

namespace {

/// The overrides that make `path` exist and hold `value`, in a configuration that is right but for it.
std::vector<std::string> setting(std::string path, const std::string& value) {
  std::vector<std::string> overrides;
  // A row of the n-th list item is set in a listener, a route or an action of its kind.
  const auto replace = [&](std::string_view what, std::string_view by) {
    if (path.starts_with(what)) path = std::string(by) + path.substr(what.size());
  };
  std::string action;
  for (const char* kind : {"respond", "redirect", "files", "websocket"})
    if (path.starts_with(std::string("listeners[].http.routes[].") + kind + ".")) action = kind;
  replace("listeners[].http.routes[]", "listeners[0].http.routes[0]");
  replace("listeners[].http", "listeners[0].http");
  replace("listeners[].tcp", "listeners[1].tcp");
  replace("listeners[].aggregate.flush[]", "listeners[3].aggregate.flush[0]");
  replace("listeners[].aggregate", "listeners[3].aggregate");
  replace("listeners[].mode", "listeners[2].mode");
  replace("listeners[].owner", "listeners[2].owner");
  replace("listeners[]", "listeners[0]");
  if (path == "admin.mode" || path == "admin.owner") overrides.push_back("admin.address=unix:/admin");
  if (const std::size_t log = path.find(".access_log."); log != std::string::npos && !path.ends_with(".format")) {
    const std::string section = path.substr(0, log) + ".access_log";
    overrides.push_back(section + (path.ends_with(".template") ? "={format: template}" : "={format: json}"));
  }
  if (action == "redirect")
    overrides.push_back("listeners[0].http.routes[0]={path: /, redirect: {location: /x}}");
  else if (action == "files")
    overrides.push_back("listeners[0].http.routes[0]={path: /, files: {root: /x}}");
  else if (action == "websocket")
    overrides.push_back("listeners[0].http.routes[0]={path: /, websocket: {ping_interval: 0s, idle_timeout: 0s}}");
  else if (action == "respond")
    overrides.push_back("listeners[0].http.routes[0]={path: /, respond: {}}");
  // What a limit needs beside the key that is tried.
  static constexpr std::pair<std::string_view, const char*> kNeeded[] = {
      {".rate_limit.", "{rate: 1/s, key: address}"},
      {".concurrency.", "{limit: 5, queue: 5}"},
      {".concurrency.adaptive.", "{min: 1, max: 1000000}"},
      {".worker_pool.", "{workers: 1000000}"},
      {".basic_auth.", "{file: /x}"},
      {".tls.", "{certificate: /x, key: /x}"},
      {".client_auth.", "{ca: /x}"},
      {".tls.acme.", "{domains: [a.example]}"},
      {".on_demand.", "{ask: \"http://127.0.0.1:1/\"}"},
      {".cors.", "{origins: [\"https://a.example\"]}"}};
  for (const auto& [part, needed] : kNeeded)
    if (const std::size_t at = path.find(part); at != std::string::npos)
      overrides.push_back(path.substr(0, at + part.size() - 1) + "=" + needed);
  if (path.ends_with(".acme.challenge") && value == "dns-01")
    overrides.push_back(path.substr(0, path.rfind('.')) + ".dns_program=/x");
  if (path.ends_with(".access_log.format") && value == "template")
    overrides.push_back(path.substr(0, path.rfind('.')) + "={template: \"${status}\"}");
  if (path == "listeners[0].http.limits.target_size") overrides.push_back("listeners[0].http.limits.header_size=1MiB");
  if (path.ends_with(".timeouts.handshake") || path.ends_with(".limits.handshakes"))
    overrides.push_back("listeners[0].tls={certificate: /x, key: /x}");
  if (path == "listeners[0].proxy_protocol") overrides.push_back("trusted_proxies=10.0.0.0/8");
  if (path == "admin.mode") overrides.push_back("admin.token_file=/x");
  if (path.starts_with("trace.on_")) {
    overrides.push_back("trace.directory=/x");  // of no use without a cause
    overrides.push_back(path == "trace.on_stall" ? "trace.on_latency=1s" : "trace.on_stall=true");
  }
  if (path.starts_with("tracing.") && path != "tracing.endpoint")
    overrides.push_back("tracing.endpoint=http://127.0.0.1:1/");
  if (path == "memory.trim_at") overrides.push_back("memory.shed_at=99");
  if (path == "memory.shed_at") overrides.push_back("memory.trim_at=10");
  if (path == "shutdown.idle") overrides.push_back("shutdown.timeout=1h");
  overrides.push_back(path + "=" + value);
  return overrides;
}

const std::string kBase =
    "listeners:\n"
    "- {name: w, address: \"127.0.0.1:0\", http: {routes: [{path: /, echo: {}}]}}\n"
    "- {name: t, address: \"127.0.0.1:0\", tcp: {echo: {}}}\n"
    "- {name: u, address: \"unix:/x\", tcp: {echo: {}}}\n"
    "- {name: a, address: \"127.0.0.1:0\", aggregate: {}}\n";

std::string outcome(const Row& row, const std::string& value) {
  const Outcome o = load_text(kBase, "f.yaml", setting(std::string(row.path), value));
  std::string text;
  for (const Diagnostic& d : o.diagnostics) text += d.to_string() + "\n";
  return text;
}

std::string written(const Row& row, std::uint64_t n) {
  switch (row.type) {
    case Type::bytes:
    case Type::auto_bytes: return std::to_string(n);
    case Type::duration: return std::to_string(n) + "ns";
    case Type::rate: return std::to_string(n) + "/h";
    case Type::octal: {
      char text[32];
      std::snprintf(text, sizeof text, "0%llo", static_cast<unsigned long long>(n));
      return text;
    }
    default: return std::to_string(n);
  }
}

}  // namespace

TEST_CASE("every row takes its default and the ends of its range, and nothing beyond", "[config][schema]") {
  std::size_t ranged = 0;
  for (const Row& row : schema()) {
    INFO(row.path);
    CHECK_FALSE(row.help.empty());
    if (!is_available(row)) {
      CHECK(outcome(row, "x").find("not available") != std::string::npos);
      continue;
    }
    const bool value = row.type != Type::section && row.type != Type::list;
    if (value && !row.fallback.empty()) CHECK(outcome(row, std::string(row.fallback)).empty());
    const bool range = row.type == Type::integer || row.type == Type::auto_integer || row.type == Type::bytes ||
                       row.type == Type::auto_bytes || row.type == Type::duration || row.type == Type::rate ||
                       row.type == Type::octal;
    if (range) {
      ++ranged;
      CHECK(outcome(row, written(row, row.least)).empty());
      // A status may be in the range and yet be none; stack sizes have a step.
      CHECK(outcome(row, written(row, row.most)).empty());
      CHECK(outcome(row, written(row, row.most + 1)).find("out of range") != std::string::npos);
      if (row.least != 0) CHECK(outcome(row, written(row, row.least - 1)).find("out of range") != std::string::npos);
      CHECK_FALSE(outcome(row, "-1").empty());
      CHECK_FALSE(outcome(row, "wrong").empty());
      CHECK_FALSE(outcome(row, "\"\"").empty());
    }
    if (row.type == Type::boolean || row.type == Type::choice) CHECK_FALSE(outcome(row, "wrong").empty());
    if (row.type != Type::list && row.type != Type::strings && row.type != Type::texts)
      CHECK_FALSE(outcome(row, "[1]").empty());
    if (row.type != Type::section && row.type != Type::pairs) CHECK_FALSE(outcome(row, "{a: 1}").empty());
    if (row.type == Type::section || row.type == Type::list) CHECK_FALSE(outcome(row, "5").empty());
    if (row.type == Type::choice) {
      std::string_view rest = row.choices;
      while (!rest.empty()) {
        const std::size_t bar = std::min(rest.find('|'), rest.size());
        const std::string choice(rest.substr(0, bar));
        const bool later = ("|" + std::string(row.later) + "|").find("|" + choice + "|") != std::string::npos;
        if (later)
          CHECK(outcome(row, choice).find("not available in this version") != std::string::npos);
        else
          CHECK(outcome(row, choice).empty());
        rest.remove_prefix(std::min(bar + 1, rest.size()));
      }
    }
  }
  CHECK(ranged >= 20);
}

TEST_CASE("the structs' defaults are the table's", "[config][schema]") {
  const Outcome o = load_text(kBase, "f.yaml");
  REQUIRE(o.ok());
  const Config none;
  const Config& c = o.config;
  CHECK(c.runtime.gomaxprocs == none.runtime.gomaxprocs);
  CHECK(c.runtime.stack_size == none.runtime.stack_size);
  CHECK(c.runtime.stack_guards == none.runtime.stack_guards);
  CHECK(c.runtime.blocking_threads == none.runtime.blocking_threads);
  CHECK(c.runtime.handoff_max == none.runtime.handoff_max);
  CHECK(c.memory == none.memory);
  CHECK(c.log.level == none.log.level);
  CHECK(c.log.format == none.log.format);
  CHECK(c.log.output == none.log.output);
  CHECK(c.shutdown.delay == none.shutdown.delay);
  CHECK(c.shutdown.timeout == none.shutdown.timeout);
  CHECK(c.shutdown.idle == none.shutdown.idle);
  CHECK(c.admin.address == none.admin.address);
  const ListenerConfig listener;
  CHECK(c.listeners[0].mode == listener.mode);
  CHECK(c.listeners[0].reuseport == listener.reuseport);
  CHECK(c.listeners[0].defer_accept == listener.defer_accept);
  CHECK(c.listeners[0].backlog == listener.backlog);
  CHECK(c.listeners[0].keep_alive.idle == listener.keep_alive.idle);
  CHECK(c.listeners[0].keep_alive.interval == listener.keep_alive.interval);
  CHECK(c.listeners[0].keep_alive.count == listener.keep_alive.count);
  const HttpConfig http;
  const auto& h = std::get<HttpConfig>(c.listeners[0].service);
  CHECK(h.timeouts.header == http.timeouts.header);
  CHECK(h.timeouts.body == http.timeouts.body);
  CHECK(h.timeouts.request == http.timeouts.request);
  CHECK(h.timeouts.write == http.timeouts.write);
  CHECK(h.timeouts.idle == http.timeouts.idle);
  CHECK(h.limits.connections == http.limits.connections);
  CHECK(h.limits.header_size == http.limits.header_size);
  CHECK(h.limits.target_size == http.limits.target_size);
  CHECK(h.limits.header_fields == http.limits.header_fields);
  CHECK(h.limits.body_size == http.limits.body_size);
  CHECK(h.access_log.format == http.access_log.format);
  CHECK(h.access_log.output == http.access_log.output);
  CHECK(h.server == http.server);
  const Outcome limited =
      load_text(kBase, "f.yaml",
                {"listeners[0].http.rate_limit={rate: 1/s}", "listeners[0].http.concurrency={limit: 1}",
                 "listeners[0].http.worker_pool={workers: 1}"});
  REQUIRE(limited.ok());
  const FlowConfig& flow = std::get<HttpConfig>(limited.config.listeners[0].service).flow;
  const RateLimitConfig rate;
  CHECK(flow.rate_limit->burst == rate.burst);
  CHECK(flow.rate_limit->key == rate.key);
  CHECK(flow.rate_limit->keys == rate.keys);
  CHECK(flow.rate_limit->status == rate.status);
  CHECK(flow.rate_limit->dry_run == rate.dry_run);
  const ConcurrencyConfig concurrency;
  CHECK(flow.concurrency->queue == concurrency.queue);
  CHECK(flow.concurrency->max_wait == concurrency.max_wait);
  CHECK(flow.concurrency->target == concurrency.target);
  CHECK(flow.concurrency->interval == concurrency.interval);
  CHECK(flow.concurrency->adaptive == concurrency.adaptive);
  CHECK(flow.concurrency->dry_run == concurrency.dry_run);
  const WorkerPoolConfig pool;
  CHECK(flow.worker_pool->least == pool.least);
  CHECK(flow.worker_pool->idle == pool.idle);
  CHECK(flow.worker_pool->queue == pool.queue);
  CHECK(flow.worker_pool->max_wait == pool.max_wait);
  CHECK(flow.worker_pool->dry_run == pool.dry_run);
  const TcpConfig tcp;
  const auto& t = std::get<TcpConfig>(c.listeners[1].service);
  CHECK(t.idle_timeout == tcp.idle_timeout);
  CHECK(t.connections == tcp.connections);
  const AggregateConfig aggregate;
  const auto& a = std::get<AggregateConfig>(c.listeners[3].service);
  CHECK(a.protocol == aggregate.protocol);
  CHECK(a.series == aggregate.series);
  CHECK(a.set_members == aggregate.set_members);
  CHECK(a.flush_interval == aggregate.flush_interval);
  CHECK(a.expire == aggregate.expire);
  CHECK(a.percentiles == aggregate.percentiles);
  CHECK(a.line_size == aggregate.line_size);
  CHECK(a.receive_buffer == aggregate.receive_buffer);
  CHECK(a.flush.empty());
  CHECK(a.idle_timeout == aggregate.idle_timeout);
  CHECK(a.connections == aggregate.connections);
  CHECK(a.connections_per_address == aggregate.connections_per_address);
}

TEST_CASE("docs/configuration.md is the table", "[config][schema]") {
  std::ifstream in(FIBERD_SOURCE_DIR "/docs/configuration.md");
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  CHECK(text == render_schema_markdown());  // `make docs` renews it
}

TEST_CASE("the schema says of each key whether a reload can change it", "[config][schema]") {
  const std::string text = render_schema_yaml();
  for (const Row& row : schema()) {
    if (!is_available(row)) continue;
    const std::size_t at = text.find("\"" + std::string(row.path) + "\":\n");
    INFO(row.path);
    REQUIRE(at != std::string::npos);
    const std::size_t told = text.find("  reloadable: ", at);
    CHECK(text.compare(told, 15, row.reloadable ? "  reloadable: t" : "  reloadable: f") == 0);
  }
}

TEST_CASE("the example files are right", "[config]") {
  for (const char* name : {"minimal", "full", "site", "unix-socket", "remote-admin", "aggregate", "included"}) {
    const Outcome o = load_file(std::string(FIBERD_SOURCE_DIR "/config/examples/") + name + ".yaml");
    std::string text;
    for (const Diagnostic& d : o.diagnostics) text += d.to_string() + "\n";
    INFO(text);
    CHECK(o.ok());
  }
  // The full one shows every key there is.
  std::ifstream in(FIBERD_SOURCE_DIR "/config/examples/full.yaml");
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  for (const Row& row : schema()) {
    const std::size_t dot = row.path.rfind('.');
    const std::string key(row.path.substr(dot == std::string_view::npos ? 0 : dot + 1));
    INFO(row.path);
    if (is_available(row)) CHECK(text.find(key + ":") != std::string::npos);
  }
}

TEST_CASE("what docs/operations.md shows as configuration is right", "[config]") {
  std::ifstream in(FIBERD_SOURCE_DIR "/docs/operations.md");
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  static constexpr std::string_view kOpen = "```yaml\n";
  std::size_t shown = 0;
  for (std::size_t at = text.find(kOpen); at != std::string::npos; at = text.find(kOpen, at + 1)) {
    const std::size_t begin = at + kOpen.size();
    const std::string yaml = text.substr(begin, text.find("```", begin) - begin);
    // Parts of a listener are shown without what stands around them.
    if (!yaml.starts_with("listeners:")) continue;
    ++shown;
    const Outcome o = load_text(yaml, "operations.md");
    std::string wrong;
    for (const Diagnostic& d : o.diagnostics) wrong += d.to_string() + "\n";
    INFO(yaml << wrong);
    CHECK(o.ok());
  }
  CHECK(shown >= 1);
}

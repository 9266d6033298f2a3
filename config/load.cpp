// From text to Config: tree → overrides → sections by the schema → rules between keys. Everything goes on after an
// error, so that one run says all that is wrong.
#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <set>

#include "config/config.hpp"
#include "config/load_aggregate.hpp"
#include "config/load_flow.hpp"
#include "config/reader.hpp"
#include "config/tree.hpp"

namespace fiberd::config {

std::string Diagnostic::to_string() const {
  std::string out = source;
  if (line != 0) out += ":" + std::to_string(line) + ":" + std::to_string(column);
  if (!out.empty()) out += ": ";
  if (!key.empty()) out += key + ": ";
  return out + message;
}

namespace {

/// One step of a --set path: a key or an index.
struct Step {
  std::string key;
  std::size_t index = 0;
  bool is_index = false;
};

bool parse_path(std::string_view text, std::vector<Step>& steps) {
  while (!text.empty()) {
    if (text.front() == '[') {
      const std::size_t close = text.find(']');
      if (close == std::string_view::npos || steps.empty()) return false;
      Step step{.key = {}, .index = 0, .is_index = true};
      const auto [end, error] = std::from_chars(text.data() + 1, text.data() + close, step.index);
      if (error != std::errc{} || end != text.data() + close) return false;
      steps.push_back(step);
      text.remove_prefix(close + 1);
      if (!text.empty() && text.front() == '.') text.remove_prefix(1);
    } else {
      const std::size_t end = std::min(text.find_first_of(".["), text.size());
      if (end == 0) return false;
      steps.push_back({.key = std::string(text.substr(0, end))});
      text.remove_prefix(end);
      if (!text.empty() && text.front() == '.') text.remove_prefix(1);
    }
  }
  return !steps.empty() && steps.size() <= kMaxDepth;
}

/// Whether the key that the steps lead to holds text: a string, or one of a list or of a mapping of strings.
bool is_text(const std::vector<Step>& steps) {
  std::string path;
  for (const Step& step : steps) {
    const Row* const above = find_row(path);
    if (above != nullptr && (above->type == Type::strings || above->type == Type::pairs)) return true;
    path += step.is_index ? "[]" : (path.empty() ? "" : ".") + step.key;
  }
  const Row* const row = find_row(path);
  return row != nullptr && row->type == Type::string;
}

void apply_override(Tree& root, const std::string& text, std::vector<Diagnostic>& diagnostics) {
  auto report = [&](std::string message) {
    diagnostics.push_back({"--set", 0, 0, text.substr(0, text.find('=')), std::move(message)});
  };
  const std::size_t equals = text.find('=');
  std::vector<Step> steps;
  if (equals == std::string::npos || !parse_path(std::string_view(text).substr(0, equals), steps)) {
    report("must be key=value, e.g. runtime.gomaxprocs=2 or listeners[0].address=127.0.0.1:8081");
    return;
  }
  std::vector<Diagnostic> own;
  Tree value = parse_yaml(text.substr(equals + 1), "--set", own);
  // Where text is wanted, what is no YAML is text: [::1]:9090 and *.example.org need no second quotes.
  if (!own.empty() && is_text(steps)) {
    std::string quoted = "'";
    for (const char c : text.substr(equals + 1)) quoted.append(c == '\'' ? 2 : 1, c);
    own.clear();
    value = parse_yaml(quoted + "'", "--set", own);
  }
  if (!own.empty()) {
    report(own.front().message);
    return;
  }
  if (text.size() == equals + 1) {  // key= : the empty string
    value.kind = Tree::Kind::scalar;
    value.entries.clear();
  }
  Tree* at = &root;
  for (const Step& step : steps) {
    if (step.is_index) {
      if (at->kind == Tree::Kind::null) at->kind = Tree::Kind::sequence;
      if (at->kind != Tree::Kind::sequence || step.index > at->items.size()) {
        report("there is no item [" + std::to_string(step.index) + "]; the list has " +
               std::to_string(at->kind == Tree::Kind::sequence ? at->items.size() : 0));
        return;
      }
      if (step.index == at->items.size()) at->items.emplace_back().source = "--set";
      at = &at->items[step.index];
      continue;
    }
    if (at->kind == Tree::Kind::null) at->kind = Tree::Kind::mapping;
    if (at->kind != Tree::Kind::mapping) {
      report(step.key + " is inside something that has no keys");
      return;
    }
    Tree* next = at->find(step.key);
    if (next == nullptr) {
      at->entries.push_back({step.key, 0, 0, {}});
      next = &at->entries.back().value;
      next->source = "--set";
    }
    at = next;
  }
  *at = std::move(value);
  at->line = at->column = 0;
}

// ---------------------------------------------------------------------------------------------- rules

bool is_token(std::string_view text) {
  static constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    const auto b = static_cast<unsigned char>(c);
    return (b < 0x20 && c != '\t') || b == 0x7f;
  });
}

/// What is wrong with a listening address; empty: nothing.
std::string check_address(std::string_view a) {
  static constexpr std::string_view kUnix = "unix:";
  static constexpr std::size_t kMaxPath = 107;
  if (a.starts_with(kUnix)) {
    const std::string_view path = a.substr(kUnix.size());
    if (path.empty()) return "unix: needs a path, e.g. unix:/run/fiberd/web.sock";
    if (path.size() > kMaxPath) return "a Unix socket's path has at most " + std::to_string(kMaxPath) + " bytes";
    return "";
  }
  const std::string example = "; write 0.0.0.0:8080, [::]:8080 or unix:/path";
  const std::size_t colon = a.rfind(':');
  if (colon == std::string_view::npos) return "no port" + example;
  const std::string_view port = a.substr(colon + 1);
  unsigned number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc{} || end != port.data() + port.size() || number > 65'535)
    return "\"" + std::string(port) + "\" is no port (0 … 65535)" + example;
  // Asked of the same function that run asks: a grammar of our own would say ok to what cannot be bound.
  const std::string host(a.substr(0, colon));
  std::array<unsigned char, 16> bytes{};
  if (host.find('\0') == std::string::npos) {
    if (host.empty() || ::inet_pton(AF_INET, host.c_str(), bytes.data()) == 1) return "";
    if (host.size() > 2 && host.front() == '[' && host.back() == ']' &&
        ::inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), bytes.data()) == 1)
      return "";
    if (::inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1)
      return "an IPv6 address stands in brackets: [" + host + "]:" + std::string(port);
  }
  return "\"" + host + "\" is no numeric address" + example;
}

/// As hosts are compared: lower case, without the dot that ends a name's absolute form.
std::string plain_host(std::string host) {
  std::transform(host.begin(), host.end(), host.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (host.ends_with('.')) host.pop_back();
  return host;
}

/// Whether `host` (plain) is a host without port, or "*." and one.
bool is_host_pattern(std::string_view host) {
  return !host.empty() && host != "*." && host.front() != '.' && host.find_first_of("/ @,") == std::string_view::npos &&
         (host.front() == '[' ? host.back() == ']' : host.find(':') == std::string_view::npos) &&
         host.find('*', host.starts_with("*.") ? 1U : 0U) == std::string_view::npos;
}

/// What is wrong with a route's path; empty: nothing. Requests' paths come without query, decoded once, without dot
/// segments and empty ones, so a path that is written otherwise would hardly ever be met.
std::string check_route_path(std::string_view path) {
  if (path.empty()) return "is required";
  if (path.front() != '/') return "must begin with /";
  const std::size_t star = path.find('*');
  if (star != std::string_view::npos && (star + 1 != path.size() || path[star - 1] != '/'))
    return "* is allowed only as the end of /prefix/*";
  if (has_control(path)) return "control characters are not allowed";
  const auto is_hex = [](char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; };
  for (std::size_t at = path.find('%'); at != std::string_view::npos; at = path.find('%', at + 1))
    if (at + 2 < path.size() && is_hex(path[at + 1]) && is_hex(path[at + 2]))
      return "escapes are not allowed: paths are compared decoded; write the character itself, e.g. \"/a b\" for "
             "/a%20b";
  if (path.find_first_of("?#") != std::string_view::npos)
    return "? and # are not allowed: query and fragment are no part of a path; leave them out (a path that holds the "
           "character itself can be met by a prefix)";
  for (const std::string_view dots : {"/./", "/../"})
    if ((std::string(path) + "/").find(dots) != std::string::npos)
      return "dot segments are removed from requests' paths; write the path without . and ..";
  if (path.find("//") != std::string_view::npos)
    return "empty segments are removed from requests' paths; write the path with single slashes";
  return "";
}

std::vector<std::string> read_hosts(const Reader& r) {
  std::vector<std::string> hosts;
  for (const std::string& host : r.strings("hosts")) {
    hosts.push_back(plain_host(host));
    if (!is_host_pattern(hosts.back()))
      r.report("hosts", "\"" + host + "\" is no host name without port, nor *. and one");
  }
  return hosts;
}

HandlerAction read_handler(const Reader& r) {
  const std::string name = r.text("handler");
  if (name.empty()) r.report("handler", "is empty; the name of a handler");
  Diagnostic at = r.at("handler", "");
  return {name, std::move(at.source), at.line, at.column, std::move(at.key)};
}

RouteAction read_action(const Reader& route) {
  static constexpr std::array<std::string_view, 5> kActions{"respond", "echo", "redirect", "files", "handler"};
  std::string found;
  unsigned count = 0;
  for (const std::string_view action : kActions)
    if (route.has(action)) {
      ++count;
      found = action;
    }
  // What is not available has been reported by its key already.
  const bool other = route.has("proxy");
  if (count == 0 && !other) route.report("", "needs one of respond, echo, redirect, files, handler");
  if (count > 1) route.report(found, "only one of respond, echo, redirect, files, handler is allowed in a route");
  if (found == "respond") {
    const Reader r = route.section("respond");
    RespondAction a{static_cast<unsigned>(r.number("status")), r.text("body"), r.text("content_type"),
                    r.pairs("headers")};
    if (has_control(a.content_type)) r.report("content_type", "control characters are not allowed in a field");
    static constexpr std::array<std::string_view, 8> kOwn{
        "content-length", "transfer-encoding", "connection", "date", "server", "content-type", "keep-alive", "upgrade"};
    for (const auto& [name, value] : a.headers) {
      std::string lower = name;
      std::transform(lower.begin(), lower.end(), lower.begin(),
                     [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
      if (!is_token(name)) r.report("headers", "\"" + name + "\" is no field name");
      if (has_control(value)) r.report("headers", name + ": control characters are not allowed in a field");
      if (std::find(kOwn.begin(), kOwn.end(), lower) != kOwn.end())
        r.report("headers", name + " is set by the server itself");
    }
    if ((a.status == 204 || a.status == 205 || a.status == 304) && !a.body.empty())
      r.report("body", "status " + std::to_string(a.status) + " has no body");
    return a;
  }
  if (found == "redirect") {
    const Reader r = route.section("redirect");
    RedirectAction a{r.text("location"), static_cast<unsigned>(r.number("status"))};
    if (a.location.empty()) r.report("location", "is required");
    if (has_control(a.location) || a.location.find(' ') != std::string::npos)
      r.report("location", "blanks and control characters are not allowed");
    if (a.status == 304 || a.status == 305 || a.status == 306)
      r.report("status", std::to_string(a.status) + " is no redirect; one of 301, 302, 303, 307, 308");
    return a;
  }
  if (found == "files") {
    const Reader r = route.section("files");
    FilesAction a;
    a.root = r.text("root");
    a.index = r.strings("index");
    if (a.root.empty()) r.report("root", "is required");
    for (const std::string& name : a.index)
      if (name.empty() || name.find('/') != std::string::npos) r.report("index", "\"" + name + "\" is no file name");
    a.cache_control = r.text("cache_control");
    if (has_control(a.cache_control)) r.report("cache_control", "control characters are not allowed in a field");
    a.precompressed = r.strings("precompressed");
    for (auto coding = a.precompressed.begin(); coding != a.precompressed.end(); ++coding) {
      if (*coding != "br" && *coding != "zstd" && *coding != "gzip")
        r.report("precompressed", "\"" + *coding + "\" is not known; of br, zstd, gzip");
      if (std::find(a.precompressed.begin(), coding, *coding) != coding)
        r.report("precompressed", *coding + " stands there twice");
    }
    a.try_files = r.strings("try_files");
    a.fallback = r.text("fallback");
    const auto below_root = [&](std::string_view key, const std::string& name) {
      if (("/" + name + "/").find("/../") != std::string::npos) r.report(key, "\"" + name + "\" leads out of the root");
    };
    for (const std::string& name : a.try_files) below_root("try_files", name);
    below_root("fallback", a.fallback);
    a.listing = r.boolean("listing");
    a.ranges = static_cast<unsigned>(r.number("ranges"));
    return a;
  }
  if (found == "handler") return read_handler(route);
  if (found == "echo") (void)route.section("echo");
  return EchoAction{};
}

RouteConfig read_route(const Reader& route) {
  static constexpr std::array<std::string_view, 7> kMethods{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"};
  RouteConfig r;
  r.path = route.text("path");
  if (const std::string wrong = check_route_path(r.path); !wrong.empty()) route.report("path", wrong);
  r.methods = route.strings("methods");
  for (const std::string& method : r.methods)
    if (std::find(kMethods.begin(), kMethods.end(), method) == kMethods.end()) {
      const std::vector<std::string> names(kMethods.begin(), kMethods.end());
      const std::string near = nearest(method, names);
      route.report("methods", "\"" + method + "\" is not allowed; one of GET HEAD POST PUT DELETE OPTIONS PATCH" +
                                  (near.empty() ? "" : "; did you mean " + near + "?"));
    }
  const std::string host = route.text("host");
  r.host = plain_host(host);
  if (!host.empty() && !is_host_pattern(r.host))
    route.report("host", "must be a host name without port, or *. and one");
  if (route.has("timeout")) r.timeout = route.duration("timeout");
  if (route.has("body_size")) r.body_size = route.number("body_size");
  r.require_length = route.boolean("require_length");
  r.flow = read_flow(route, FlowOf::requests);
  r.action = read_action(route);
  if (std::holds_alternative<FilesAction>(r.action) && !r.methods.empty()) {
    const auto has = [&](std::string_view m) {
      return std::find(r.methods.begin(), r.methods.end(), m) != r.methods.end();
    };
    const auto other = std::find_if(kMethods.begin() + 2, kMethods.end(), has);
    if (other != kMethods.end())
      route.report("methods", "files serves GET and HEAD, not " + std::string(*other) + "; leave methods out");
    else if (!has("GET") && has("HEAD"))
      route.report("methods", "files needs GET, which brings HEAD; leave methods out");
  }
  return r;
}

std::uint64_t default_target_size(std::uint64_t header_size) {
  static constexpr std::uint64_t kFields = std::uint64_t{8} * 1024;
  return std::min(std::max(header_size, 2 * kFields) - kFields, header_size);
}

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
  return k;
}

HttpConfig read_http(const Reader& http) {
  HttpConfig h;
  const Reader t = http.section("timeouts");
  h.timeouts = {t.duration("header"), t.duration("body"),  t.duration("request"), t.duration("write"),
                t.duration("idle"),   t.duration("grace"), t.duration("age")};
  const Reader l = http.section("limits");
  h.limits = {l.number("connections"),
              l.number("header_size"),
              static_cast<unsigned>(l.number("header_fields")),
              l.number("body_size"),
              l.number("body_rate"),
              l.number("write_rate"),
              static_cast<unsigned>(l.number("requests")),
              l.number("connections_per_address")};
  // What a larger head is for is as a rule a longer query.
  h.limits.target_size = l.has("target_size") ? l.number("target_size") : default_target_size(h.limits.header_size);
  if (h.limits.target_size > h.limits.header_size) l.report("target_size", "is larger than header_size");
  const Reader a = http.section("access_log");
  h.access_log = {static_cast<AccessLogFormat>(a.choice("format")), a.text("output")};
  h.server = http.text("server");
  if (has_control(h.server)) http.report("server", "control characters are not allowed in a field");
  h.hosts = read_hosts(http);
  for (const auto& [status, file] : http.pairs("error_pages")) {
    unsigned code = 0;
    const auto [end, wrong] = std::from_chars(status.data(), status.data() + status.size(), code);
    if (wrong != std::errc() || end != status.data() + status.size() || code < 400 || code > 599)
      http.report("error_pages", "\"" + status + "\" is no error's status; 400 … 599");
    if (file.empty()) http.report("error_pages", status + ": needs a file");
    h.error_pages.emplace_back(code, file);
  }
  h.flow = read_flow(http, FlowOf::requests);
  std::map<std::string, std::set<std::string>> seen;  // path and host → methods
  const std::size_t routes = http.list("routes", [&](Reader& item) {
    RouteConfig route = read_route(item);
    std::set<std::string>& methods = seen[route.host + " " + route.path];
    const std::vector<std::string> wanted =
        route.methods.empty() ? std::vector<std::string>{"all methods"} : route.methods;
    const std::set<std::string> before = methods;  // [GET, HEAD] in one route says the same twice, which hurts nobody
    for (const std::string& m : wanted) {
      // GET brings HEAD: of two routes either would serve it.
      const bool head = (m == "HEAD" && before.count("GET") != 0) || (m == "GET" && before.count("HEAD") != 0);
      const bool clash = head || methods.count(m) != 0 || methods.count("all methods") != 0 ||
                         (m == "all methods" && !methods.empty());
      if (clash) item.report("path", "a second route for " + route.path + " with " + m);
      methods.insert(m);
    }
    h.routes.push_back(std::move(route));
  });
  if (routes == 0) http.report("routes", "at least one route is needed");
  return h;
}

TcpConfig read_tcp(const Reader& tcp) {
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
  if (c.address.empty())
    l.report("address", "is required");
  else if (const std::string wrong = check_address(c.address); !wrong.empty())
    l.report("address", wrong);
  const bool is_unix = c.address.starts_with("unix:");
  for (const std::string_view key : {std::string_view("mode"), std::string_view("owner")})
    if (l.has(key) && !is_unix) l.report(key, "is for unix: addresses only");
  for (const std::string_view key :
       {std::string_view("reuseport"), std::string_view("defer_accept"), std::string_view("keepalive")})
    if (l.has(key) && is_unix) l.report(key, "is not for unix: addresses");
  c.mode = static_cast<std::uint32_t>(l.number("mode"));
  c.owner = l.text("owner");
  c.reuseport = l.boolean("reuseport");
  if (l.has("defer_accept")) c.defer_accept = l.boolean("defer_accept");
  c.backlog = static_cast<unsigned>(l.number("backlog"));
  c.keep_alive = read_keep_alive(l.section("keepalive"));
  const bool http = l.has("http");
  const bool tcp = l.has("tcp");
  const bool aggregate = l.has("aggregate");
  if (int{http} + int{tcp} + int{aggregate} != 1) l.report("", "needs exactly one of http, tcp, aggregate");
  if (http) c.service = read_http(l.section("http"));
  if (tcp && !http) c.service = read_tcp(l.section("tcp"));
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
               static_cast<unsigned>(runtime.number("machines_max"))};
  for (const auto& [key, size] :
       {std::pair{"stack_size", c.runtime.stack_size}, std::pair{"small_stack_size", c.runtime.small_stack_size},
        std::pair{"large_stack_size", c.runtime.large_stack_size}})
    if (size % 4096 != 0 && size >= 16 * 1024) runtime.report(key, "must be a multiple of 4KiB");
  c.memory.limit = root.section("memory").number("limit");
  const Reader file_cache = root.section("file_cache");
  c.file_cache = {file_cache.number("files"), file_cache.number("memory"), file_cache.duration("age")};
  const Reader log = root.section("log");
  c.log = {static_cast<LogLevel>(log.choice("level")), static_cast<LogFormat>(log.choice("format")),
           log.text("output")};
  if (c.log.output.empty()) log.report("output", "is empty; stderr, stdout or a path");
  const Reader shutdown = root.section("shutdown");
  c.shutdown = {shutdown.duration("delay"), shutdown.duration("timeout"), shutdown.duration("idle")};
  const Reader admin = root.section("admin");
  c.admin.address = admin.text("address");
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
  c.admin.hosts = read_hosts(admin);
  if (!c.admin.hosts.empty() && c.admin.address.starts_with("unix:"))
    admin.report("hosts", "is not for unix: addresses, which answer whatever the Host");
  std::map<std::string, std::string> names;
  std::map<std::string, std::string> addresses;
  if (!c.admin.address.empty()) addresses[c.admin.address] = "admin";
  const std::size_t listeners = root.list("listeners", [&](Reader& item) {
    ListenerConfig l = read_listener(item);
    if (!l.name.empty() && !names.emplace(l.name, item.path()).second)
      item.report("name", "a second listener named " + l.name);
    // Port 0 is a different port each time.
    if (!l.address.empty() && !l.address.ends_with(":0") && !addresses.emplace(l.address, item.path()).second)
      item.report("address", l.address + " is used by " + addresses[l.address] + " already");
    c.listeners.push_back(std::move(l));
  });
  if (listeners == 0 && readable) root.report("listeners", "at least one listener is needed");
  std::stable_sort(out.diagnostics.begin(), out.diagnostics.end(), [](const Diagnostic& a, const Diagnostic& b) {
    return std::pair(a.line, a.column) < std::pair(b.line, b.column);
  });
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

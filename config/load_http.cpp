// Routes and what else a section http has.
#include "config/load_http.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "config/load_flow.hpp"
#include "config/text_rules.hpp"

namespace fiberd::config {

HandlerAction read_handler(const Reader& r) {
  HandlerAction a{r.text("handler"), r.place("handler")};
  if (a.name.empty()) r.report("handler", "is empty; the name of a handler");
  return a;
}

namespace {

/// A field's value, in which nothing is replaced: who writes $host there means something else.
void check_field(const Reader& r, std::string_view key, std::string_view value, std::string_view what = {}) {
  const std::string prefix = what.empty() ? std::string() : std::string(what) + ": ";
  if (has_control(value)) r.report(key, prefix + "control characters are not allowed in a field");
  if (const std::string_view variable = find_variable(value); is_meant_as_variable(variable))
    r.report(key, prefix + unknown_variable(variable, "fields are sent as they are written"));
}

RespondAction read_respond(const Reader& r) {
  RespondAction a;
  a.status = static_cast<unsigned>(r.number("status"));
  a.body = r.text("body");
  a.error_page = a.status >= 400 && !r.has("body");
  a.content_type = r.text("content_type");
  a.headers = r.pairs("headers");
  check_field(r, "content_type", a.content_type);
  static constexpr std::array<std::string_view, 8> kOwn{"content-length", "transfer-encoding", "connection", "date",
                                                        "server",         "content-type",      "keep-alive", "upgrade"};
  for (const auto& [name, value] : a.headers) {
    const std::string lower = ascii::lower(name);
    if (!is_token(name)) r.report("headers", "\"" + name + "\" is no field name");
    check_field(r, "headers", value, name);
    if (std::find(kOwn.begin(), kOwn.end(), lower) != kOwn.end())
      r.report("headers", name + " is set by the server itself");
  }
  if ((a.status == 204 || a.status == 205 || a.status == 304) && !a.body.empty())
    r.report("body", "status " + std::to_string(a.status) + " has no body");
  return a;
}

RedirectAction read_redirect(const Reader& r) {
  RedirectAction a{r.text("location"), static_cast<unsigned>(r.number("status"))};
  if (a.location.empty()) r.report("location", "is required");
  if (has_control(a.location) || a.location.find(' ') != std::string::npos)
    r.report("location", "blanks and control characters are not allowed");
  for (const std::string_view variable : {find_variable(a.location), find_group(a.location)})
    if (!variable.empty())
      r.report("location",
               unknown_variable(variable, "a redirect always leads to the same place (a $ that is meant is %24)"));
  if (a.status == 304 || a.status == 305 || a.status == 306)
    r.report("status", std::to_string(a.status) + " is no redirect; one of 301, 302, 303, 307, 308");
  return a;
}

bool leads_out(std::string_view name) { return ("/" + std::string(name) + "/").find("/../") != std::string::npos; }

/// One of try_files: $path stands for the request's path, and may be written ${path}, as it is before letters.
std::string read_tried(const Reader& r, std::size_t index, std::string name) {
  const auto report = [&](std::string message) { r.report("try_files", index, std::move(message)); };
  if (name.empty()) report("is empty; the root itself is /");
  if (leads_out(name)) report("\"" + name + "\" leads out of the root");
  // What nginx has at the end of the list.
  const bool digits =
      name.size() == 4 && std::all_of(name.begin() + 1, name.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (name.starts_with('=') && digits)
    report("\"" + name + "\" would be the name of a file; leave it out: 404 is the answer where none is there");
  if (name.starts_with('@') && name.find_first_of("./") == std::string::npos)
    report("\"" + name + "\" would be the name of a file; use fallback, or another route");
  std::string plain;
  for (std::string_view rest = name; !rest.empty();) {
    const std::string_view variable = find_variable(rest);
    if (variable.empty()) return plain + std::string(rest);
    plain.append(rest.substr(0, static_cast<std::size_t>(variable.data() - rest.data())));
    rest.remove_prefix(static_cast<std::size_t>(variable.data() - rest.data()) + variable.size());
    plain += "$path";
    if (variable == "$path" || variable == "${path}") continue;
    report(unknown_variable(variable, "write $path for the request's path, which is all that there is"));
    return name;
  }
  return plain;
}

FilesAction read_files(const Reader& r) {
  FilesAction a;
  a.root = r.text("root");
  a.root_at = r.place("root");
  a.index = r.strings("index");
  if (a.root.empty())
    r.report("root", "is required");
  else if (const std::string wrong = check_file_path(a.root); !wrong.empty())
    r.report("root", wrong);
  static constexpr std::string_view kOneFile = "it is the name of one file; $path stands in try_files";
  for (std::size_t i = 0; i < a.index.size(); ++i) {
    const std::string& name = a.index[i];
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos)
      r.report("index", i, "\"" + name + "\" is no file name");
    else if (const std::string_view variable = find_variable(name); !variable.empty())
      r.report("index", i, unknown_variable(variable, kOneFile));
  }
  a.cache_control = r.text("cache_control");
  check_field(r, "cache_control", a.cache_control);
  a.precompressed = r.strings("precompressed");
  for (auto coding = a.precompressed.begin(); coding != a.precompressed.end(); ++coding) {
    if (*coding != "br" && *coding != "zstd" && *coding != "gzip")
      r.report("precompressed", "\"" + *coding + "\" is not known; of br, zstd, gzip");
    if (std::find(a.precompressed.begin(), coding, *coding) != coding)
      r.report("precompressed", *coding + " stands there twice");
  }
  a.try_files = r.strings("try_files");
  for (std::size_t i = 0; i < a.try_files.size(); ++i) a.try_files[i] = read_tried(r, i, std::move(a.try_files[i]));
  a.fallback = r.text("fallback");
  if (leads_out(a.fallback)) r.report("fallback", "\"" + a.fallback + "\" leads out of the root");
  if (const std::string_view variable = find_variable(a.fallback); !variable.empty())
    r.report("fallback", unknown_variable(variable, kOneFile));
  if (a.fallback.ends_with('/')) r.report("fallback", "is a file, and a name that ends in / is none; e.g. index.html");
  // Below the root it is, either way.
  a.fallback.erase(0, a.fallback.find_first_not_of('/'));
  a.listing = r.boolean("listing");
  a.ranges = static_cast<unsigned>(r.number("ranges"));
  return a;
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
  if (found == "respond") return read_respond(route.section("respond"));
  if (found == "redirect") return read_redirect(route.section("redirect"));
  if (found == "files") return read_files(route.section("files"));
  if (found == "handler") return read_handler(route);
  if (found == "echo") (void)route.section("echo");
  return EchoAction{};
}

RouteConfig read_route(const Reader& route) {
  static constexpr std::array<std::string_view, 7> kMethods{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"};
  RouteConfig r;
  r.path = route.text("path");
  r.path_at = route.place("path");
  if (const std::string wrong = check_route_path(r.path); !wrong.empty()) route.report("path", wrong);
  r.methods = route.strings("methods");
  for (std::size_t i = 0; i < r.methods.size(); ++i) {
    const std::string& method = r.methods[i];
    if (std::find(kMethods.begin(), kMethods.end(), method) == kMethods.end()) {
      const std::vector<std::string> names(kMethods.begin(), kMethods.end());
      const std::string near = nearest(method, names);
      route.report("methods", i,
                   "\"" + method + "\" is not allowed; one of GET HEAD POST PUT DELETE OPTIONS PATCH" +
                       (near.empty() ? "" : "; did you mean " + near + "?"));
    }
  }
  const std::string host = route.text("host");
  r.host = plain_host(host);
  if (!host.empty())
    if (const std::string wrong = check_host_pattern(host); !wrong.empty()) route.report("host", wrong);
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

/// Lines of a log that nobody asked for would go nowhere without a word.
AccessLogConfig read_access_log(const Reader& r) {
  AccessLogConfig a;
  a.format = static_cast<AccessLogFormat>(r.choice("format"));
  a.output = r.text("output");
  a.output_at = r.place("output");
  if (r.has("output") && !r.has("format"))
    r.report("output", "is for a format, and none is set: format: common, or json");
  if (const std::string wrong = check_file_path(a.output); !wrong.empty())
    r.report("output", wrong + "; stdout, stderr or a path");
  else if (const std::string_view variable = find_variable(a.output); !variable.empty())
    r.report("output", unknown_variable(variable, "write the path itself"));
  else if (a.output == "off")
    r.report("output", "would be a file of that name; format: off turns the log off");
  return a;
}

std::vector<ErrorPageConfig> read_error_pages(const Reader& http) {
  std::vector<ErrorPageConfig> pages;
  const auto written = http.pairs("error_pages");
  for (std::size_t i = 0; i < written.size(); ++i) {
    const auto& [status, file] = written[i];
    ErrorPageConfig page{0, file, http.place("error_pages", i)};
    const auto [end, error] = std::from_chars(status.data(), status.data() + status.size(), page.status);
    if (error != std::errc() || end != status.data() + status.size() || page.status < 400 || page.status > 599)
      http.report("error_pages", i, "\"" + status + "\" is no error's status; 400 … 599");
    else if (std::any_of(pages.begin(), pages.end(), [&](const ErrorPageConfig& p) { return p.status == page.status; }))
      http.report("error_pages", i, "a second page for " + std::to_string(page.status));
    if (file.empty())
      http.report("error_pages", i, status + ": needs a file");
    else if (const std::string wrong = check_file_path(file); !wrong.empty())
      http.report("error_pages", i, std::string(status).append(": ").append(wrong));
    pages.push_back(std::move(page));
  }
  return pages;
}

}  // namespace

HttpConfig read_http(const Reader& http, bool unix_socket) {
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
  if (unix_socket && h.limits.connections_per_address != 0)
    l.report("connections_per_address", "is not for unix: addresses, whose clients have none");
  h.access_log = read_access_log(http.section("access_log"));
  h.server = http.text("server");
  check_field(http, "server", h.server);
  h.hosts = read_hosts(http);
  h.error_pages = read_error_pages(http);
  h.flow = read_flow(http, FlowOf::requests);
  std::map<std::string, std::set<std::string>> seen;  // path and host → methods
  const std::size_t routes = http.list("routes", [&](Reader& item) {
    RouteConfig route = read_route(item);
    if (!route.host.empty() && !h.hosts.empty() &&
        std::none_of(h.hosts.begin(), h.hosts.end(),
                     [&](const std::string& host) { return hosts_meet(host, route.host); }))
      item.report("host", "the listener's hosts leave out " + route.host + ": requests for it get 421; add it there");
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

}  // namespace fiberd::config

// Routes and what else a section http has.
#include "config/load_http.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "config/load_access_log.hpp"
#include "config/load_files.hpp"
#include "config/load_filters.hpp"
#include "config/load_flow.hpp"
#include "config/load_websocket.hpp"
#include "config/text_rules.hpp"

namespace fiberd::config {

HandlerAction read_handler(const Reader& r) {
  HandlerAction a{r.text("handler"), r.place("handler")};
  if (a.name.empty()) r.report("handler", "is empty; the name of a handler");
  return a;
}

namespace {

RespondAction read_respond(const Reader& r) {
  RespondAction a;
  a.status = static_cast<unsigned>(r.number("status"));
  a.body = r.text("body");
  a.error_page = a.status >= 400 && !r.has("body");
  a.content_type = r.text("content_type");
  if (a.error_page && r.has("content_type"))
    r.report("content_type", "is for a body, and there is none: the answer is the page for " +
                                 std::to_string(a.status) + "; body: \"\" is an empty one");
  a.headers = r.pairs("headers");
  check_field(r, "content_type", a.content_type);
  a.body = read_template(r, "body", std::move(a.body), TemplateOf::body);
  if (!a.error_page && has_variables(a.body))
    if (const std::string wrong = check_type_of_variables(a.content_type); !wrong.empty())
      r.report("content_type", wrong);
  for (std::size_t i = 0; i < a.headers.size(); ++i) {
    auto& [name, value] = a.headers[i];
    if (const std::string wrong = check_own_field(name); !wrong.empty())
      r.report("headers", i, wrong);
    else
      value = read_template(r, "headers", i, std::move(value), TemplateOf::field);
  }
  if ((a.status == 204 || a.status == 205 || a.status == 304) && !a.body.empty())
    r.report("body", "status " + std::to_string(a.status) + " has no body");
  return a;
}

RedirectAction read_redirect(const Reader& r) {
  RedirectAction a{r.text("location"), static_cast<unsigned>(r.number("status"))};
  if (a.location.empty())
    r.report("location", "is required");
  else
    a.location = read_template(r, "location", std::move(a.location), TemplateOf::location);
  if (a.status == 304 || a.status == 305 || a.status == 306)
    r.report("status", std::to_string(a.status) + " is no redirect; one of 301, 302, 303, 307, 308");
  return a;
}

RouteAction read_action(const Reader& route) {
  static constexpr std::array<std::string_view, 6> kActions{"respond", "echo",      "redirect",
                                                            "files",   "websocket", "handler"};
  std::string found;
  unsigned count = 0;
  for (const std::string_view action : kActions)
    if (route.has(action)) {
      ++count;
      found = action;
    }
  // What is not available has been reported by its key already.
  const bool other = route.has("proxy");
  if (count == 0 && !other) route.report("", "needs one of respond, echo, redirect, files, websocket, handler");
  if (count > 1)
    route.report(found, "only one of respond, echo, redirect, files, websocket, handler is allowed in a route");
  if (found == "respond") return read_respond(route.section("respond"));
  if (found == "redirect") return read_redirect(route.section("redirect"));
  if (found == "files") return read_files(route.section("files"));
  if (found == "websocket") return read_websocket(route.section("websocket"));
  if (found == "handler") return read_handler(route);
  if (found == "echo") (void)route.section("echo");
  return EchoAction{};
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

std::vector<std::pair<std::string, std::string>> read_mime_types(const Reader& http) {
  auto types = http.pairs("mime_types");
  for (std::size_t i = 0; i < types.size(); ++i) {
    auto& [extension, type] = types[i];
    extension = ascii::lower(extension);
    if (const std::string wrong = check_extension(extension); !wrong.empty())
      http.report("mime_types", i, wrong);
    else if (extension.find('.', 1) != std::string::npos)
      http.report("mime_types", i,
                  "only the last part of a name decides: write " + extension.substr(extension.rfind('.')));
    if (std::any_of(types.begin(), types.begin() + static_cast<std::ptrdiff_t>(i),
                    [&own = extension](const auto& other) { return other.first == own; }))
      http.report("mime_types", i, "a second type for " + extension);
    if (const std::string wrong = check_media_type(std::string_view(type).substr(0, type.find(';')), false);
        !wrong.empty())
      http.report("mime_types", i, wrong);
    else
      check_field(http, "mime_types", i, type);
  }
  return types;
}

RouteConfig read_route(const Reader& route, const AccessLogConfig& log, bool nameless) {
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
  r.priority = static_cast<Priority>(route.choice("priority"));
  r.flow = read_flow(route, FlowOf::requests, nameless);
  r.action = read_action(route);
  r.filters = read_filters(route);
  r.error_pages = read_error_pages(route);
  if (route.has("access_log")) r.access_log = read_access_log(route.section("access_log"), log);
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
  if (std::holds_alternative<WebSocketAction>(r.action) && !r.methods.empty() &&
      r.methods != std::vector<std::string>{"GET"})
    route.report("methods", "websocket begins with a GET, and serves nothing else; leave methods out");
  return r;
}

std::uint64_t default_target_size(std::uint64_t header_size) {
  static constexpr std::uint64_t kFields = std::uint64_t{8} * 1024;
  return std::min(std::max(header_size, 2 * kFields) - kFields, header_size);
}

}  // namespace

HttpConfig read_http(const Reader& http, bool nameless, bool trusts_unix) {
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
  h.timeouts.handshake = t.duration("handshake");
  h.limits.handshakes = l.number("handshakes");
  // What a larger head is for is as a rule a longer query.
  h.limits.target_size = l.has("target_size") ? l.number("target_size") : default_target_size(h.limits.header_size);
  if (h.limits.target_size > h.limits.header_size) l.report("target_size", "is larger than header_size");
  if (nameless && h.limits.connections_per_address != 0)
    l.report("connections_per_address", "is not for unix: addresses, whose clients have none");
  const Reader h2 = http.section("http2");
  h.http2 = {static_cast<unsigned>(h2.number("max_streams")), h2.number("stream_window"),
             h2.number("connection_window"), static_cast<unsigned>(h2.number("glitches")), h2.boolean("upgrade")};
  h.h2c = http.boolean("h2c");
  h.access_log = read_access_log(http.section("access_log"), {});
  h.server = http.text("server");
  check_field(http, "server", h.server);
  h.hosts = read_hosts(http);
  h.error_pages = read_error_pages(http);
  h.mime_types = read_mime_types(http);
  h.forwarded = static_cast<ForwardedHeader>(http.choice("forwarded"));
  h.filters = read_filters(http);
  // A proxy that is trusted says the client's address with each request, if not of each connection.
  const bool nameless_requests = nameless && !(trusts_unix && h.forwarded != ForwardedHeader::off);
  h.flow = read_flow(http, FlowOf::requests, nameless_requests);
  std::map<std::string, std::set<std::string>> seen;  // path and host → methods
  const std::size_t routes = http.list("routes", [&](Reader& item) {
    RouteConfig route = read_route(item, h.access_log, nameless_requests);
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

// Several files, the environment, filters, access logs and whom to believe: what is read, and what is refused where.
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "config/addresses.hpp"
#include "config/config.hpp"
#include "config/environment.hpp"
#include "config/handlers.hpp"
#include "config/reload.hpp"
#include "tests/unit/config/loading.hpp"

using namespace fiberd::config;
using namespace std::chrono_literals;

namespace {

/// Keys that this version knows and refuses are read all the same: what is tried here is how.
Outcome read_all(const std::string& yaml, const std::string& source = "f.yaml",
                 const std::vector<std::string>& overrides = {}) {
  Outcome o = load_text(yaml, source, overrides);
  o.diagnostics.erase(std::remove_if(o.diagnostics.begin(), o.diagnostics.end(),
                                     [](const Diagnostic& d) {
                                       return d.message.find("not available in this version") != std::string::npos;
                                     }),
                      o.diagnostics.end());
  return o;
}

/// A route with `keys`, in line 5 from column 7 on.
std::string route(const std::string& keys) {
  return "listeners:\n- name: w\n  address: \"127.0.0.1:0\"\n  http: {routes: [\n    {" + keys +
         ", path: /a/*, echo: {}}]}\n";
}
/// A section http with `keys`, in line 4 from column 10 on.
std::string http(const std::string& keys) {
  return "listeners:\n- name: w\n  address: \"127.0.0.1:0\"\n  http: {" + keys +
         ",\n    routes: [{path: /, echo: {}}]}\n";
}
const HttpConfig& http_of(const Outcome& o) { return std::get<HttpConfig>(o.config.listeners.at(0).service); }

/// A directory with files, gone at the end.
class Files {
 public:
  Files() {
    char name[] = "/tmp/fiberd-config-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;
  ~Files() { std::filesystem::remove_all(path_); }
  std::string write(const std::string& name, const std::string& text) const {
    const std::filesystem::path file = path_ + "/" + name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
    return file;
  }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

/// A variable of the environment, for a test's time.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) { ::setenv(name, value.c_str(), 1); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { ::unsetenv(name_); }

 private:
  const char* name_;
};

std::string listener(const std::string& name) {
  return "  - {name: " + name + ", address: \"127.0.0.1:0\", tcp: {echo: {}}}\n";
}

void check_alone(const Outcome& o, const std::string& place, const std::string& key, const std::string& message) {
  INFO("wanted: " << place << " " << key << ": " << message << "\ngot: " << all(o));
  REQUIRE(o.diagnostics.size() == 1);
  CHECK(o.diagnostics[0].to_string().starts_with(place + ": "));
  CHECK(o.diagnostics[0].key == key);
  CHECK(o.diagnostics[0].message.find(message) != std::string::npos);
}

}  // namespace

TEST_CASE("listeners of other files are appended, in the order of their names", "[config][include]") {
  const Files files;
  files.write("conf.d/b.yaml", "listeners:\n" + listener("b"));
  files.write("conf.d/a.yaml", "include: ../more/x.yaml\nlisteners:\n" + listener("a"));
  files.write("conf.d/.hidden.yaml", "listeners: 5\n");
  files.write("conf.d/empty.yaml", "");
  files.write("more/x.yaml", "listeners:\n" + listener("x"));
  const std::string main =
      files.write("f.yaml", "include: [conf.d/*.yaml, none.d/*.yaml]\nlisteners:\n" + listener("m"));
  const Outcome o = load_file(main);
  INFO(all(o));
  REQUIRE(o.ok());
  std::string names;
  for (const ListenerConfig& l : o.config.listeners) names += l.name;
  CHECK(names == "maxb");
  CHECK(o.config.files.size() == 5);
  CHECK(o.config.files.front() == main);
  CHECK(o.config.listeners[3].address_at.source == files.path() + "/conf.d/b.yaml");
  CHECK(o.config.listeners[3].address_at.line == 2);
  // The key's index is that of all of them, by which --set names it.
  const Outcome set = load_file(main, {"listeners[3].address=127.0.0.1:5", "include=[conf.d/b.yaml]"});
  CHECK_FALSE(set.ok());  // only two are left
  const Outcome other = load_file(main, {"listeners[1].address=127.0.0.1:5", "include=[conf.d/b.yaml]"});
  INFO(all(other));
  REQUIRE(other.ok());
  CHECK(other.config.listeners[1].name == "b");
  CHECK(other.config.listeners[1].address == "127.0.0.1:5");
}

TEST_CASE("what is wrong with an include is said in the right file", "[config][include]") {
  const Files files;
  const std::string dir = files.path() + "/";
  const auto main = [&](const std::string& include) {
    return load_file(files.write("f.yaml", "include: " + include + "\n" + kListener));
  };
  files.write("self.yaml", "include: [self.yaml]\n");
  files.write("ping.yaml", "include: [pong.yaml]\n");
  files.write("pong.yaml", "include: [ping.yaml]\n");
  files.write("other.yaml", "log: {}\nlistners: []\n");
  files.write("bad.yaml", "listeners:\n  - {name: b, address: nowhere, tcp: {echo: {}}}\n");
  files.write("list.yaml", "[1]\n");
  files.write("yaml.yaml", "listeners: [\n");
  files.write("good.yaml", "listeners:\n" + listener("g"));
  files.write("back.yaml", "include: [f.yaml]\n");
  check_alone(main("[no.yaml]"), dir + "f.yaml:1:11", "include[0]", "No such file");
  check_alone(main("[\"\"]"), dir + "f.yaml:1:11", "include[0]", "is empty");
  check_alone(main("."), dir + "f.yaml:1:10", "include", "directory; write");
  check_alone(main("{a: b}"), dir + "f.yaml:1:10", "include", "list of strings");
  check_alone(main("[self.yaml]"), dir + "self.yaml:1:11", "include[0]", "include itself");
  check_alone(main("[ping.yaml]"), dir + "pong.yaml:1:11", "include[0]", "include itself");
  check_alone(main("[back.yaml]"), dir + "back.yaml:1:11", "include[0]", "include itself");
  check_alone(main("[good.yaml, \"g*.yaml\"]"), dir + "f.yaml:1:22", "include[1]", "included already, by");
  check_alone(main("[bad.yaml]"), dir + "bad.yaml:2:24", "listeners[1].address", "no port");
  check_alone(main("[list.yaml]"), dir + "list.yaml:1:1", "", "mapping");
  check_alone(main("[yaml.yaml]"), dir + "yaml.yaml:2:1", "", "not valid YAML");
  const Outcome o = main("[other.yaml, no.yaml, bad.yaml]");  // all of it in one go
  INFO(all(o));
  REQUIRE(o.diagnostics.size() == 4);
  CHECK(all(o).find("other.yaml:1:1: log: stands in the first file only") != std::string::npos);
  CHECK(all(o).find("other.yaml:2:1: listners: unknown key; did you mean listeners?") != std::string::npos);
}

TEST_CASE("variables of the environment", "[config][environment]") {
  const Variable set("FIBERD_TEST_A", "va$l}ue");
  const Variable empty("FIBERD_TEST_EMPTY", "");
  ::unsetenv("FIBERD_TEST_NOT");
  const auto expand = [](const std::string& text, bool is_template = false) {
    std::string out;
    const std::string wrong = expand_environment(text, is_template, out);
    return wrong.empty() ? out : "! " + wrong;
  };
  CHECK(expand("x${FIBERD_TEST_A}y") == "xva$l}uey");
  CHECK(expand("${FIBERD_TEST_A:-d}${FIBERD_TEST_NOT:-d e}") == "va$l}ued e");
  CHECK(expand("<${FIBERD_TEST_EMPTY}><${FIBERD_TEST_EMPTY:-d}><${FIBERD_TEST_NOT:-}>") == "<><d><>");
  CHECK(expand("$FIBERD_TEST_A $5 $ $$ ${host} ${Mixed}") == "$FIBERD_TEST_A $5 $ $$ ${host} ${Mixed}");
  CHECK(expand("$${FIBERD_TEST_A} $$${FIBERD_TEST_A}") == "${FIBERD_TEST_A} $${FIBERD_TEST_A}");
  // In a template a value never becomes a variable.
  CHECK(expand("${FIBERD_TEST_A} $${FIBERD_TEST_A} ${host}", true) == "va$$l}ue $${FIBERD_TEST_A} ${host}");
  CHECK(expand("${FIBERD_TEST_NOT}").find("the environment has no FIBERD_TEST_NOT") != std::string::npos);
  // All that is wrong at once, and each thing once.
  const std::string all = expand("${FIBERD_TEST_NOT} ${FIBERD_TEST_NOR}${FIBERD_TEST_NOT} ${FIBERD_TEST_A-x}");
  CHECK(all.find("no FIBERD_TEST_NOT;") == all.rfind("no FIBERD_TEST_NOT;"));
  CHECK(all.find("; also, the environment has no FIBERD_TEST_NOR;") != std::string::npos);
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "${FIBERD_TEST_NO" + std::to_string(i) + "}";
  CHECK(expand(many).ends_with("; and more"));
  CHECK(expand(many).size() < 1500);
  CHECK(all.find("; also, \"${FIBERD_TEST_A-x}\" is no variable") != std::string::npos);
  CHECK(expand("${FIBERD_TEST_A").find("without its }") != std::string::npos);
  CHECK(expand("${FIBERD_TEST_A-x}").find("write ${FIBERD_TEST_A} or") != std::string::npos);
  CHECK(expand("${FIBERD_TEST_NOT:-${FIBERD_TEST_A}}").find("is text") != std::string::npos);
  const Variable binary("FIBERD_TEST_B", "\xff");
  CHECK(expand("${FIBERD_TEST_B}").find("UTF-8") != std::string::npos);
  const Variable large("FIBERD_TEST_L", std::string(40'000, 'x'));
  CHECK(expand("${FIBERD_TEST_L}${FIBERD_TEST_L}").find("longer than 64 KiB") != std::string::npos);
}

TEST_CASE("a variable's value is text: never a list, a key or nothing", "[config][environment]") {
  const Variable structure("FIBERD_TEST_S", "[a, b]");
  const Variable null("FIBERD_TEST_N", "null");
  const Variable number("FIBERD_TEST_P", "77");
  const Outcome o = load_text(
      "shutdown: {timeout: \"${FIBERD_TEST_T:-1m30s}\"}\nlisteners:\n- name: ${FIBERD_TEST_N}\n"
      "  address: \"127.0.0.1:${FIBERD_TEST_P}\"\n  backlog: ${FIBERD_TEST_P}\n"
      "  http: {server: \"${FIBERD_TEST_S}\", routes: [{path: /, echo: {}}]}\n",
      "f.yaml");
  INFO(all(o));
  REQUIRE(o.ok());
  CHECK(o.config.shutdown.timeout == 90s);
  CHECK(o.config.listeners[0].name == "null");
  CHECK(o.config.listeners[0].address == "127.0.0.1:77");
  CHECK(o.config.listeners[0].backlog == 77);
  CHECK(http_of(o).server == "[a, b]");
  // An unset one is told once, where it stands, and not what follows from it.
  check_alone(read_all("listeners:\n- {name: t, address: \"${FIBERD_TEST_NOT}\", tcp: {echo: {}}}\n"), "f.yaml:2:22",
              "listeners[0].address", "the environment has no FIBERD_TEST_NOT");
  check_alone(read_all("runtime: {gomaxprocs: \"${FIBERD_TEST_NOT}\"}\n" + kListener), "f.yaml:1:23",
              "runtime.gomaxprocs", "the environment has no");
  check_alone(read_all("runtime: {gomaxprocs: \"${FIBERD_TEST_S}\"}\n" + kListener), "f.yaml:1:23",
              "runtime.gomaxprocs", "\"[a, b]\" is no whole number");
}

TEST_CASE("filters are read in the order in which they are written", "[config][filters]") {
  const std::string keys =
      "cache_control: {.CSS: max-age=5, \"*\": no-cache}, filters: [mine, yours], deny: 10.1.0.0/16, allow: "
      "[10.0.0.0/8, \"::1\", \"unix:\"], request_id: {header: X-Trace, accept: true}, compress: {codings: [gzip, br], "
      "level: {gzip: 9}, types: [Text/*], min_size: 2KiB}, cors: {origins: [\"https://*.a.example\", "
      "\"http://localhost:3000\"], methods: [PUT], headers: [\"*\"], expose: [X-A], credentials: true, max_age: 1h}, "
      "basic_auth: {file: /etc/users, realm: here}, headers: {set: {X-A: b}, add: {X-B: c}, remove: [Server]}";
  const Outcome listener = read_all(http(keys));
  const Outcome of_route = read_all(route(keys));
  INFO(all(listener) << all(of_route));
  REQUIRE(listener.ok());
  REQUIRE(of_route.ok());
  const std::vector<FilterConfig>& f = http_of(listener).filters;
  CHECK(f == http_of(of_route).routes[0].filters);
  REQUIRE(f.size() == 10);
  CHECK(std::get<CacheControlFilter>(f[0]).rules.at(0) == std::pair<std::string, std::string>(".css", "max-age=5"));
  CHECK(std::get<NamedFilter>(f[1]).name == "mine");
  CHECK(std::get<NamedFilter>(f[2]).name == "yours");
  CHECK(std::get<DenyFilter>(f[3]).ranges.texts == std::vector<std::string>{"10.1.0.0/16"});
  CHECK(std::get<AllowFilter>(f[4]).ranges.texts.size() == 3);
  CHECK(std::get<RequestIdFilter>(f[5]).header == "X-Trace");
  CHECK(std::get<RequestIdFilter>(f[5]).accept);
  const auto& compress = std::get<CompressFilter>(f[6]);
  CHECK(compress.codings == std::vector<CodingConfig>{{"gzip", 9}, {"br", std::nullopt}});
  CHECK(compress.types == std::vector<std::string>{"text/*"});
  CHECK(compress.min_size == 2048);
  CHECK(std::get<CorsFilter>(f[7]).max_age == 1h);
  CHECK(std::get<CorsFilter>(f[7]).credentials);
  CHECK(std::get<BasicAuthFilter>(f[8]).realm == "here");
  CHECK(std::get<HeadersFilter>(f[9]).remove == std::vector<std::string>{"Server"});
  // The other way round is the other order.
  const Outcome turned = read_all(http("headers: {set: {A: b}}, allow: [10.0.0.0/8]"));
  CHECK(http_of(turned).filters.at(0).index() == 0);
  CHECK(http_of(turned).filters.at(1).index() == 1);
  const Outcome defaults = read_all(http("compress: {}"));
  REQUIRE(defaults.ok());
  CHECK(std::get<CompressFilter>(http_of(defaults).filters.at(0)).codings.size() == 3);
}

TEST_CASE("filters: what is wrong is said with its place", "[config][filters]") {
  struct Wrong {
    std::string keys;  // of a route: in line 5, from column 6 on
    unsigned column;
    std::string key;
    std::string message;
  };
  const std::vector<Wrong> cases{
      {"headers: {}", 15, "headers", "needs one of"},
      {"headers: {sett: {a: b}, remove: [a]}", 16, "headers.sett", "did you mean set?"},
      {"headers: {set: {\"a b\": c}}", 22, "headers.set.a b", "not a field name"},
      {"headers: {set: {Content-Length: 5}}", 22, "headers.set.Content-Length", "set by the server"},
      {"headers: {set: {Server: x}}", 22, "headers.set.Server", "use the key server"},
      {"headers: {add: {a: \"x\\ny\"}}", 22, "headers.add.a", "control"},
      {"headers: {set: {a: \"${hots}\"}}", 22, "headers.set.a", "did you mean ${host}?"},
      {"headers: {set: {a: $remote_addr}}", 22, "headers.set.a", "${client}"},
      {"headers: {remove: [Date]}", 25, "headers.remove[0]", "set by the server"},
      {"headers: {remove: [\"\"]}", 25, "headers.remove[0]", "not a field name"},
      {"allow: []", 13, "allow", "is empty"},
      {"allow: [10.0.0.1/8]", 14, "allow[0]", "behind the prefix"},
      {"allow: [10.0.0.0/33]", 14, "allow[0]", "0 … 32 bits"},
      {"deny: [\"::/129\"]", 13, "deny[0]", "0 … 128 bits"},
      {"deny: [\"::ffff:0:0/80\"]", 13, "deny[0]", "IPv4 range"},
      {"deny: localhost", 12, "deny", "not a range"},
      {"deny: [10.0.0.0/]", 13, "deny[0]", "bits"},
      {"basic_auth: {}", 18, "basic_auth", "file is required"},
      {"basic_auth: {file: /x, realm: \"a\\\"b\"}", 36, "basic_auth.realm", "control"},
      {"cors: {}", 12, "cors", "origins is required"},
      {"cors: {origins: [a.example]}", 23, "cors.origins[0]", "begins with http"},
      {"cors: {origins: [\"https://a.example/\"]}", 23, "cors.origins[0]", "without /"},
      {"cors: {origins: [\"https://A.example\"]}", 23, "cors.origins[0]", "lower case"},
      {"cors: {origins: [\"https://a.example:443\"]}", 23, "cors.origins[0]", "own port"},
      {"cors: {origins: [\"https://a.example:x\"]}", 23, "cors.origins[0]", "1 … 65535"},
      {"cors: {origins: [\"*\", \"https://a.example\"]}", 23, "cors.origins[0]", "stands alone"},
      {"cors: {origins: [\"*\"], credentials: true}", 23, "cors.origins[0]", "name the origins"},
      {"cors: {origins: [\"https://a\"], methods: [\"*\"], credentials: true}", 47, "cors.methods[0]", "means nothing"},
      {"cors: {origins: [\"https://a\"], methods: [\"a b\"]}", 47, "cors.methods[0]", "no method"},
      {"cors: {origins: [\"https://a\"], max_age: 1.5s}", 46, "cors.max_age", "whole seconds"},
      {"compress: {codings: [lzma]}", 27, "compress.codings[0]", "of zstd, br, gzip"},
      {"compress: {codings: [br, br]}", 31, "compress.codings[1]", "twice"},
      {"compress: {codings: []}", 26, "compress.codings", "is empty"},
      {"compress: {level: {gzip: 10}}", 25, "compress.level.gzip", "1 … 9"},
      {"compress: {codings: [br], level: {gzip: 1}}", 40, "compress.level.gzip", "not one of codings"},
      {"compress: {types: [html]}", 25, "compress.types[0]", "not a media type"},
      {"compress: {types: [\"*/*\"]}", 25, "compress.types[0]", "not a media type"},
      {"request_id: {header: \"a b\"}", 27, "request_id.header", "not a field name"},
      {"cache_control: {}", 21, "cache_control", "is empty"},
      {"cache_control: {css: no-cache}", 22, "cache_control.css", "not an extension"},
      {"cache_control: {.css: \"\"}", 22, "cache_control..css", "needs a value"},
      {"filters: [\"\"]", 16, "filters[0]", "is empty"},
      {"error_pages: {200: /x}", 20, "error_pages.200", "400 … 599"},
      {"access_log: {format: jsn}", 27, "access_log.format", "did you mean json?"},
  };
  for (const Wrong& wrong : cases) {
    const Outcome o = read_all(route(wrong.keys));
    INFO(wrong.keys);
    check_alone(o, "f.yaml:5:" + std::to_string(wrong.column), "listeners[0].http.routes[0]." + wrong.key,
                wrong.message);
  }
}

TEST_CASE("ranges of addresses", "[config][filters]") {
  for (const char* const good : {"0.0.0.0/0", "10.0.0.0/8", "192.0.2.1", "192.0.2.1/32", "::/0", "2001:db8::/32", "::1",
                                 "::ffff:10.0.0.0/104", "unix:"})
    CHECK(check_range(good) == "");
  for (const char* const bad : {"", "/8", "10.0.0/8", "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0.0/", "[::1]", "::1%lo",
                                "10.0.0.1/31", "2001:db8::1/64", "a/8", "unix:/x", "10.0.0.0/8/8", "::/0 "})
    CHECK(check_range(bad) != "");
}

TEST_CASE("access logs: what is read and what is refused", "[config][access_log]") {
  const Outcome o = read_all(
      "listeners:\n- name: w\n  address: \"127.0.0.1:0\"\n  http:\n    access_log: {format: template, template: "
      "\"${client} ${status} $$\", output: stderr, sample: 1/4, only: [errors, 3xx, 200], not_paths: /healthz}\n"
      "    routes:\n    - {path: /a, echo: {}, access_log: {sample: 0.5, only: 404}}\n"
      "    - {path: /b, echo: {}, access_log: {format: off}}\n    - {path: /c, echo: {}}\n");
  INFO(all(o));
  REQUIRE(o.ok());
  const AccessLogConfig& log = http_of(o).access_log;
  CHECK(log.format == AccessLogFormat::written);
  CHECK(log.line == "${client} ${status} $$");
  CHECK(log.sample == 0.25);
  CHECK(log.only == std::vector<std::pair<unsigned, unsigned>>{{400, 599}, {300, 399}, {200, 200}});
  CHECK(log.not_paths == std::vector<std::string>{"/healthz"});
  // What a route does not say is as in the listener's.
  const auto& routes = http_of(o).routes;
  REQUIRE(routes[0].access_log);
  CHECK(routes[0].access_log->format == AccessLogFormat::written);
  CHECK(routes[0].access_log->output == "stderr");
  CHECK(routes[0].access_log->sample == 0.5);
  CHECK(routes[0].access_log->only == std::vector<std::pair<unsigned, unsigned>>{{404, 404}});
  REQUIRE(routes[1].access_log);
  CHECK(routes[1].access_log->format == AccessLogFormat::off);
  CHECK_FALSE(routes[2].access_log);
  struct Wrong {
    std::string keys;
    std::string key;
    std::string message;
  };
  const std::vector<Wrong> cases{
      {"format: template", "format", "needs the key template"},
      {"format: json, template: \"${status}\"", "template", "for format: template"},
      {"format: template, template: \"${staus}\"", "template", "did you mean ${status}?"},
      {"format: template, template: $remote_addr", "template", "did you mean ${client}?"},
      {"format: template, template: $body_bytes_sent", "template", "did you mean ${bytes_out}?"},
      {"format: template, template: \"${xyzzyxyzzy}\"", "template", "there are ${time}, ${listener}"},
      {"format: template, template: \"${status\"", "template", "without its }"},
      {"format: template, template: \"a\\nb\"", "template", "one line"},
      {"format: template, template: \"\"", "template", "is empty"},
      {"format: json, sample: 0", "sample", "format: off writes no lines"},
      {"format: json, sample: 2", "sample", "at most 1"},
      {"format: json, sample: 1/0", "sample", "not a share"},
      {"format: json, sample: nan", "sample", "not a share"},
      {"format: json, sample: 1e-3", "sample", "not a share"},
      {"format: json, sample: -0.5", "sample", "not a share"},
      {"format: json, only: [6xx]", "only[0]", "a class like 5xx"},
      {"format: json, only: []", "only", "is empty"},
      {"format: json, not_paths: [healthz]", "not_paths[0]", "begin with /"},
      {"sample: 0.5", "sample", "none is set"},
      {"only: errors", "only", "none is set"},
  };
  for (const Wrong& wrong : cases) {
    const Outcome refused = read_all(http("access_log: {" + wrong.keys + "}"));
    INFO(wrong.keys << "\n" << all(refused));
    REQUIRE(refused.diagnostics.size() == 1);
    CHECK(refused.diagnostics[0].line == 4);
    CHECK(refused.diagnostics[0].key == "listeners[0].http.access_log." + wrong.key);
    CHECK(refused.diagnostics[0].message.find(wrong.message) != std::string::npos);
  }
}

TEST_CASE("request variables in redirects, fields and bodies", "[config][variables]") {
  const auto location = [](const std::string& text) {
    return read_all(
        "listeners:\n- name: w\n  address: \"127.0.0.1:0\"\n  http: {routes: [{path: /, redirect: {location: \"" +
        text + "\"}}]}\n");
  };
  for (const char* const good :
       {"https://${host}/new/${rest}${query}", "${scheme}://www.a.example${path}", "/x${query}", "${path}", "/a/$$5",
        "https://a.example/?u=${header.X-U}", "//${host}/x"}) {
    INFO(good << "\n" << all(location(good)));
    CHECK(location(good).ok());
  }
  const std::vector<std::pair<std::string, std::string>> cases{
      {"https://${hst}/", "did you mean ${host}?"},
      {"https://a${uri}", "did you mean ${path}?"},
      {"https://a.example$uri", "did you mean ${path}?"},
      {"https://${hst}/$uri", "did you mean ${host}?; also, there is no variable $uri; did you mean ${path}?"},
      {"https://$host/", "in braces: ${host}"},
      {"https://${host}$request_uri", "did you mean ${path}${query}?"},
      {"/${http_x_user}", "did you mean ${header.x-user}?"},
      {"/${header.}", "name of a field"},
      {"/${host", "without its }"},
      {"https://a.example${header.x}/", "only ${host} may stand"},
      {"https://${client}.a.example/", "only ${host} may stand"},
      {"/${path}", "${path} begins with one"},
      {"${rest}", "begins with /"},
      {"${header.X}://a/", "only ${scheme}"},
      {"https:///x", "host is missing"},
      {"/a b", "characters of a URI"},
      {"/v/$1", "${rest}"},
      {"/${xyzzyxyzzyxyzzy}", "there are ${host}, ${path}"}};
  for (const auto& [text, message] : cases) {
    const Outcome o = location(text);
    INFO(text << "\n" << all(o));
    REQUIRE(o.diagnostics.size() == 1);
    CHECK(o.diagnostics[0].line == 4);
    CHECK(o.diagnostics[0].key == "listeners[0].http.routes[0].redirect.location");
    CHECK(o.diagnostics[0].message.find(message) != std::string::npos);
  }
  const Outcome body = read_all(
      "listeners:\n- name: w\n  address: \"127.0.0.1:0\"\n  http: {routes: [{path: /, respond: {body: \"${nme}\", "
      "headers: {X-A: \"$query_string\"}}}]}\n");
  INFO(all(body));
  REQUIRE(body.diagnostics.size() == 2);
  CHECK(body.diagnostics[0].key == "listeners[0].http.routes[0].respond.body");
  CHECK(body.diagnostics[1].key == "listeners[0].http.routes[0].respond.headers.X-A");
  CHECK(body.diagnostics[1].message.find("${query}") != std::string::npos);
  const Outcome page = read_all(
      "listeners:\n- name: w\n  address: \"127.0.0.1:0\"\n  http: {routes: [{path: /, respond: {status: 404}}, {path: "
      "/b, respond: {status: 404, body: x}}, {path: /c, respond: {}}]}\n");
  REQUIRE(page.ok());
  CHECK(std::get<RespondAction>(http_of(page).routes[0].action).error_page);
  CHECK_FALSE(std::get<RespondAction>(http_of(page).routes[1].action).error_page);
  CHECK_FALSE(std::get<RespondAction>(http_of(page).routes[2].action).error_page);
}

TEST_CASE("several addresses, and what connections begin with", "[config][listeners]") {
  const Outcome o = read_all(
      "trusted_proxies: [10.0.0.0/8]\nlisteners:\n- {name: a, address: [\"127.0.0.1:7\", \"[::1]:7\", \"unix:/x\"], "
      "mode: "
      "0600, proxy_protocol: v2, tcp: {echo: {}}}\n");
  INFO(all(o));
  REQUIRE(o.ok());
  REQUIRE(o.config.listeners[0].addresses.size() == 3);
  CHECK(o.config.listeners[0].addresses[1].text == "[::1]:7");
  CHECK(o.config.listeners[0].addresses[1].at.column == 38);
  CHECK(o.config.listeners[0].address == "127.0.0.1:7");
  CHECK(o.config.listeners[0].proxy_protocol == ProxyProtocol::v2);
  CHECK(o.config.trusted_proxies.texts == std::vector<std::string>{"10.0.0.0/8"});
  const Outcome both = read_all("listeners:\n- {name: a, address: [\"0.0.0.0:7\", \"[::]:7\"], tcp: {echo: {}}}\n");
  REQUIRE(both.ok());
  CHECK(both.config.listeners[0].addresses[1].ipv6_only);
  CHECK_FALSE(both.config.listeners[0].ipv6_only);
  const std::string head = "listeners:\n- {name: a, tcp: {echo: {}}, address: ";
  check_alone(read_all(head + "[\":7\", \"0.0.0.0:7\"]}\n"), "f.yaml:2:46", "listeners[0].address[1]",
              "the same address");
  check_alone(read_all(head + "[\"127.0.0.1:7\", \":7\"]}\n"), "f.yaml:2:55", "listeners[0].address[1]",
              "is every IPv4 address");
  check_alone(read_all(head + "[\"unix:/a/../x\", \"unix:/x\"]}\n"), "f.yaml:2:56", "listeners[0].address[1]",
              "the same path");
  check_alone(read_all(head + "[\"127.0.0.1:7\", \"\"]}\n"), "f.yaml:2:55", "listeners[0].address[1]", "is empty");
  check_alone(read_all(head + "[\"127.0.0.1:7\", nowhere]}\n"), "f.yaml:2:55", "listeners[0].address[1]", "no port");
  check_alone(read_all(head + "[]}\n"), "f.yaml:2:39", "listeners[0].address", "is required");
  check_alone(read_all(head + "\":7\", proxy_protocol: any}\n"), "f.yaml:2:61", "listeners[0].proxy_protocol",
              "needs trusted_proxies");
  check_alone(read_all("trusted_proxies: [10.0.0.0/8]\nlisteners:\n- {name: a, address: \":7\", proxy_protocol: any, "
                       "aggregate: {protocol: udp}}\n"),
              "f.yaml:3:44", "listeners[0].proxy_protocol", "is for tcp");
  // Behind a proxy the clients of a Unix socket have addresses.
  const std::string by_unix = "trusted_proxies: [\"unix:\"]\nlisteners:\n- {name: a, address: \"unix:/x\", ";
  const std::string limit = "tcp: {echo: {}, limits: {connections_per_address: 5}}}\n";
  CHECK(read_all(by_unix + "proxy_protocol: any, " + limit).ok());
  check_alone(read_all(by_unix + limit), "f.yaml:3:83", "listeners[0].tcp.limits.connections_per_address", "have none");
  const std::string by_address = "rate_limit: {rate: 1/s, key: address}";
  const std::string tcp = "tcp: {echo: {}, " + by_address + "}}\n";
  CHECK(read_all(by_unix + "proxy_protocol: any, " + tcp).ok());
  check_alone(read_all(by_unix + tcp), "f.yaml:3:78", "listeners[0].tcp.rate_limit.key", "share one bucket");
  // Of requests a field tells it, if who comes over the socket is trusted to write it.
  const auto web = [&](const std::string& all, const std::string& route) {
    return "http: {" + all + "routes: [{path: /, echo: {}" + route + "}]}}\n";
  };
  CHECK(read_all(by_unix + web(by_address + ", ", ", " + by_address)).ok());
  CHECK(read_all(by_unix + web("rate_limit: {rate: 1/s, key: \"header:X-Key\"}, forwarded: off, ", "")).ok());
  check_alone(read_all(by_unix + web("forwarded: off, ", ", " + by_address)), "f.yaml:3:114",
              "listeners[0].http.routes[0].rate_limit.key", "share one bucket");
  const std::string untrusted = "trusted_proxies: [10.0.0.0/8]\nlisteners:\n- {name: a, address: \"unix:/x\", ";
  check_alone(read_all(untrusted + web(by_address + ", ", "")), "f.yaml:3:69", "listeners[0].http.rate_limit.key",
              "share one bucket");
  CHECK(read_all("listeners:\n- {name: a, address: [\"unix:/x\", \":7\"], " + tcp).ok());
  // An aggregate does not send to itself at any of its addresses.
  CHECK(
      all(read_all("listeners:\n- {name: a, address: [\"127.0.0.1:7\", \"127.0.0.1:8\"], aggregate: {flush: [{statsd: "
                   "\"127.0.0.1:8\"}]}}\n"))
          .find("is this listener itself") != std::string::npos);
  check_alone(read_all("trusted_proxies: [10.0.0.0/8, x]\n" + kListener), "f.yaml:1:31", "trusted_proxies[1]",
              "not a range");
}

TEST_CASE("media types that are added", "[config][mime]") {
  const Outcome o =
      read_all(http("mime_types: {.WebManifest: application/manifest+json, .a: \"text/x; charset=utf-8\"}"));
  INFO(all(o));
  REQUIRE(o.ok());
  CHECK(http_of(o).mime_types.at(0).first == ".webmanifest");
  for (const auto& [types, message] :
       std::vector<std::pair<std::string, std::string>>{{"a: text/x", "not an extension"},
                                                        {".a: text", "not a media type"},
                                                        {".a: text/*", "not a media type"},
                                                        {".a.b: text/x", "write .b"},
                                                        {".a: text/x, .A: text/y", "a second type"}}) {
    const Outcome refused = read_all(http("mime_types: {" + types + "}"));
    INFO(types << "\n" << all(refused));
    REQUIRE(refused.diagnostics.size() == 1);
    CHECK(refused.diagnostics[0].message.find(message) != std::string::npos);
  }
}

TEST_CASE("filters of a program that does not have them", "[config][filters]") {
  Outcome o = read_all(route("filters: [mine, yuors, web]"));
  REQUIRE(o.ok());
  check_handlers(o, {.http = {"web"}, .tcp = {}, .filters = {"mine", "yours"}});
  INFO(all(o));
  REQUIRE(o.diagnostics.size() == 2);
  CHECK(o.diagnostics[0].key == "listeners[0].http.routes[0].filters[1]");
  CHECK(o.diagnostics[0].message.find("did you mean yours?") != std::string::npos);
  CHECK(o.diagnostics[1].message.find("it has a handler with that name") != std::string::npos);
}

TEST_CASE("what cannot change while the daemon runs is named with its place", "[config][reload]") {
  const Outcome before = read_all("runtime: {stack_size: 256KiB, gomaxprocs: 2}\nlog: {level: info}\n" + kListener);
  const Outcome after = read_all(
      "log: {level: error}\nadmin: {address: \"127.0.0.1:9\"}\nruntime:\n  gomaxprocs: 1\n"
      "  stack_size: 128KiB\n  stack_guards: require\n" +
      kListener);
  REQUIRE(before.ok());
  REQUIRE(after.ok());
  CHECK(not_reloadable(before.config, before.config).empty());
  Outcome found;
  found.diagnostics = not_reloadable(before.config, after.config);
  INFO(all(found));
  REQUIRE(found.diagnostics.size() == 2);
  CHECK(found.diagnostics[0].to_string().starts_with("f.yaml:5:15: runtime.stack_size: it cannot change"));
  CHECK(found.diagnostics[0].message.find("from 256KiB to 128KiB") != std::string::npos);
  CHECK(found.diagnostics[1].to_string().starts_with("f.yaml:6:17: runtime.stack_guards"));
  // What is left out is the default again, and has no line.
  const std::vector<Diagnostic> back = not_reloadable(after.config, before.config);
  REQUIRE(back.size() == 2);
  CHECK(std::any_of(back.begin(), back.end(), [](const Diagnostic& d) {
    return d.key == "runtime.stack_guards" && d.source == "f.yaml" && d.line == 0;
  }));
}

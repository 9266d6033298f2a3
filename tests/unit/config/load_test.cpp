// What is accepted and what it means; what is refused, where, and with which remedy.
#include <algorithm>
#include <catch2/catch.hpp>

#include "config/config.hpp"
#include "tests/unit/config/loading.hpp"

using namespace fiberd::config;
using namespace std::chrono_literals;

namespace {

struct Bad {
  std::string yaml;
  std::string where;  // line:column
  std::string key;
  std::string message;  // part of it
};

}  // namespace

TEST_CASE("the design's configuration", "[config]") {
  const Outcome o = load(R"(
runtime: {gomaxprocs: auto, stack_size: 256KiB, stack_guards: auto, blocking_threads: 64}
memory: {limit: auto}
log: {level: info, format: text, output: stderr}
shutdown: {delay: 0s, timeout: 30s}
admin: {address: "127.0.0.1:9090"}
listeners:
  - name: web
    address: "0.0.0.0:8080"
    http:
      timeouts: {header: 11s, body: 31s, request: 61s, write: 32s, idle: 62s}
      limits: {connections: 10001, header_size: 17KiB, header_fields: 101, body_size: 2MiB}
      access_log: {format: common}
      routes:
        - {path: /, respond: {body: "Hello, World!", content_type: text/plain}}
        - {path: /echo, echo: {}}
        - {path: /files/*, files: {root: ./site, index: [index.html, index.htm]}}
        - {path: /old, redirect: {location: /new, status: 301}}
        - {path: /api/*, methods: [GET, POST], host: api.example.com, timeout: 5s, body_size: 0, require_length: true, echo: {}}
  - {name: echo, address: "0.0.0.0:7000", tcp: {echo: {}}}
  - {name: sink, address: "unix:/run/x.sock", mode: 0600, owner: "root:root", tcp: {discard: {}, timeouts: {idle: 5s}, limits: {connections: 7}}}
)");
  INFO(all(o));
  REQUIRE(o.ok());
  const Config& c = o.config;
  CHECK(c.runtime.gomaxprocs == 0);
  CHECK(c.runtime.stack_size == 262'144);
  CHECK(c.shutdown.timeout == 30s);
  CHECK(c.admin.address == "127.0.0.1:9090");
  REQUIRE(c.listeners.size() == 3);
  const auto& http = std::get<HttpConfig>(c.listeners[0].service);
  CHECK(http.timeouts.header == 11s);
  CHECK(http.timeouts.body == 31s);
  CHECK(http.timeouts.request == 61s);
  CHECK(http.timeouts.write == 32s);
  CHECK(http.timeouts.idle == 62s);
  CHECK(http.limits.connections == 10'001);
  CHECK(http.limits.header_size == 17 * 1024);
  CHECK(http.limits.header_fields == 101);
  CHECK(http.limits.body_size == 2 * 1024 * 1024);
  CHECK(http.access_log.format == AccessLogFormat::common);
  REQUIRE(http.routes.size() == 5);
  CHECK(std::get<RespondAction>(http.routes[0].action).body == "Hello, World!");
  CHECK(std::get<RespondAction>(http.routes[0].action).content_type == "text/plain");
  CHECK(std::holds_alternative<EchoAction>(http.routes[1].action));
  CHECK(std::get<FilesAction>(http.routes[2].action).root == "./site");
  CHECK(std::get<FilesAction>(http.routes[2].action).index == std::vector<std::string>{"index.html", "index.htm"});
  CHECK(std::get<RedirectAction>(http.routes[3].action).location == "/new");
  CHECK(std::get<RedirectAction>(http.routes[3].action).status == 301);
  CHECK(http.routes[4].methods == std::vector<std::string>{"GET", "POST"});
  CHECK(http.routes[4].host == "api.example.com");
  CHECK(http.routes[4].timeout == 5s);
  CHECK(http.routes[4].body_size == 0U);
  CHECK(http.routes[4].require_length);
  CHECK_FALSE(http.routes[0].timeout.has_value());
  CHECK(std::get<TcpConfig>(c.listeners[1].service).service == TcpService::echo);
  const auto& sink = std::get<TcpConfig>(c.listeners[2].service);
  CHECK(sink.service == TcpService::discard);
  CHECK(sink.idle_timeout == 5s);
  CHECK(sink.connections == 7);
  CHECK(c.listeners[2].mode == 0600);
  CHECK(c.listeners[2].owner == "root:root");
}

TEST_CASE("the built-in default loads", "[config]") {
  const Outcome o = load(default_config());
  INFO(all(o));
  CHECK(o.ok());
  CHECK(o.config.listeners.size() >= 2);
}

TEST_CASE("what is wrong is said with its place and a remedy", "[config]") {
  const std::vector<Bad> cases{
      // Structure.
      {"runtime: {gomaxproc: 2}\n" + kListener, "1:11", "runtime.gomaxproc", "did you mean gomaxprocs?"},
      {"rutnime: {}\n" + kListener, "1:1", "rutnime", "did you mean runtime?"},
      {"xyzzy: 1\n" + kListener, "1:1", "xyzzy", "known here: include config runtime memory leaks"},
      {"runtime: 5\n" + kListener, "1:10", "runtime", "mapping"},
      {"runtime: [1]\n" + kListener, "1:10", "runtime", "mapping"},
      {"runtime: {}\nruntime: {}\n" + kListener, "2:1", "", "duplicate key runtime, first given in line 1"},
      {"log: {level: info, level: info}\n" + kListener, "1:20", "", "duplicate key level"},
      {"upstreams: []\n" + kListener, "1:1", "upstreams", "not available in this version"},
      {"a: &x 1\n", "1:4", "", "anchors"},
      {"[1, 2]\n", "1:1", "", "mapping"},
      {"just text\n", "1:1", "", "mapping"},
      {kListener + "---\na: 1\n", "3:1", "", "second document"},
      {"? [a]\n: 1\n", "1:3", "", "plain name"},
      {"a: [1\n", "2:1", "", "not valid YAML"},
      {"runtime:\n  gomaxprocs: 2\n   stack_size: 64KiB\n", "3:14", "", "is indented otherwise"},
      {"listeners:\n- name: t\n  tcp: {echo: {}}\n x: 1\n", "4:2", "", "is indented otherwise"},
      {"\ta: 1\n", "1:3", "", "not valid YAML"},
      {"a: \xff\n", "1:4", "", "UTF-8"},
      {std::string("a: \0\n", 5), "1:4", "", "UTF-8"},
      // A section without anything in it, and one that is not there.
      {"listeners:\n  - {name: a, address: \":0\", http: }\n", "2:36", "listeners[0].http.routes", "at least one"},
      {"listeners:\n  - name: a\n    address: \":0\"\n    http:\n", "5:1", "listeners[0].http.routes", "at least one"},
      // Values.
      {"runtime: {gomaxprocs: many}\n" + kListener, "1:23", "runtime.gomaxprocs", "auto or 1 … 1024"},
      {"runtime: {gomaxprocs: 0}\n" + kListener, "1:23", "runtime.gomaxprocs", "out of range"},
      {"runtime: {gomaxprocs: -1}\n" + kListener, "1:23", "runtime.gomaxprocs",
       "-1 is out of range; allowed: auto or 1 … 1024"},
      {"runtime: {gomaxprocs: 2.5}\n" + kListener, "1:23", "runtime.gomaxprocs", "no whole number"},
      {"runtime: {gomaxprocs: 1e9}\n" + kListener, "1:23", "runtime.gomaxprocs", "written in digits"},
      {"runtime: {gomaxprocs: 99999999999999999999}\n" + kListener, "1:23", "runtime.gomaxprocs", "out of range"},
      {"memory: {limit: 9999999999TiB}\n" + kListener, "1:17", "memory.limit", "9999999999TiB is out of range"},
      {"shutdown: {timeout: 9999999999999h}\n" + kListener, "1:21", "shutdown.timeout", "out of range"},
      {"runtime: {gomaxprocs: [2]}\n" + kListener, "1:23", "runtime.gomaxprocs", "single value"},
      {"runtime: {stack_size: 256}\n" + kListener, "1:23", "runtime.stack_size", "out of range"},
      {"runtime: {stack_size: 256KB}\n" + kListener, "1:23", "runtime.stack_size", "unit like 16KiB"},
      {"runtime: {stack_size: 17000}\n" + kListener, "1:23", "runtime.stack_size", "multiple of 4KiB"},
      {"runtime: {stack_guards: requires}\n" + kListener, "1:25", "runtime.stack_guards", "did you mean require?"},
      {"memory: {limit: 12 bananas}\n" + kListener, "1:17", "memory.limit", "auto or 16MiB … 1TiB"},
      {"memory: {trim_at: 95}\n" + kListener, "1:19", "memory.trim_at", "trim_at (95) must be less than shed_at (95)"},
      {"memory: {trim_at: 50, shed_at: 40}\n" + kListener, "1:32", "memory.shed_at", "must be less than shed_at (40)"},
      {"memory: {shed_at: 100}\n" + kListener, "1:19", "memory.shed_at", "out of range"},
      {"memory: {governor: offf}\n" + kListener, "1:20", "memory.governor", "did you mean off?"},
      {"memory: {governor: off, limit: 1GiB}\n" + kListener, "1:32", "memory.limit", "governor is off"},
      {"log: {level: warn}\n" + kListener, "1:14", "log.level", "did you mean warning?"},
      {"log: {output: \"\"}\n" + kListener, "1:15", "log.output", "empty"},
      {"shutdown: {delay: 5}\n" + kListener, "1:19", "shutdown.delay", "unit like 500ms"},
      {"shutdown: {delay: 5 s}\n" + kListener, "1:19", "shutdown.delay", "unit like 500ms"},
      {"shutdown: {delay: 2h}\n" + kListener, "1:19", "shutdown.delay", "0s … 1h"},
      {"shutdown: {timeout: -1s}\n" + kListener, "1:21", "shutdown.timeout", "-1s is out of range"},
      {"admin: {address: localhost}\n" + kListener, "1:18", "admin.address", "no port"},
      {"admin: {address: \"localhost:1\"}\n" + kListener, "1:18", "admin.address", "numeric"},
      {"admin: {address: \"127.0.0.1:70000\"}\n" + kListener, "1:18", "admin.address", "not a port (0 … 65535)"},
      {"admin: {address: \"::1:80\"}\n" + kListener, "1:18", "admin.address", "brackets: [::1]:80"},
      {"admin: {address: off, hosts: [a]}\n" + kListener, "1:30", "admin.hosts", "address is off"},
      // Listeners.
      {"listeners: {}\n", "1:12", "listeners", "list"},
      {"listeners: []\n", "1:12", "listeners", "at least one"},
      {"log: {}\n", "1:1", "listeners", "at least one"},
      {"listeners: [5]\n", "1:13", "listeners[0]", "mapping"},
      {"listeners: [{address: \"1.1.1.1:1\", tcp: {echo: {}}}]\n", "1:13", "listeners[0].name", "required"},
      {"listeners: [{name: a b, address: \"1.1.1.1:1\", tcp: {echo: {}}}]\n", "1:20", "listeners[0].name", "word"},
      {"listeners: [{name: admin, address: \"1.1.1.1:1\", tcp: {echo: {}}}]\n", "1:20", "listeners[0].name", "admin"},
      {"listeners: [{name: a, tcp: {echo: {}}}]\n", "1:13", "listeners[0].address", "required"},
      {"listeners: [{name: a, address: \"unix:\", tcp: {echo: {}}}]\n", "1:32", "listeners[0].address", "path"},
      {"listeners: [{name: a, address: \"unix:/" + std::string(107, 'x') + "\", tcp: {echo: {}}}]\n", "1:32",
       "listeners[0].address", "107 bytes"},
      {"listeners: [{name: a, address: \"1.1.1.1:1\"}]\n", "1:13", "listeners[0]", "exactly one of http, tcp"},
      {"listeners: [{name: a, address: \"1.1.1.1:1\", tcp: {}}]\n", "1:50", "listeners[0].tcp", "exactly one of echo"},
      {"listeners: [{name: a, address: \"1.1.1.1:1\", tcp: {echo: {x: 1}}}]\n", "1:58", "listeners[0].tcp.echo.x",
       "nothing can be set here"},
      {"listeners: [{name: a, address: \"1.1.1.1:1\", mode: 0600, tcp: {echo: {}}}]\n", "1:51", "listeners[0].mode",
       "unix: addresses only"},
      {"listeners: [{name: a, address: \"unix:/x\", mode: 0888, tcp: {echo: {}}}]\n", "1:49", "listeners[0].mode",
       "no number"},
      {"listeners: [{name: a, address: \"unix:/x\", reuseport: true, tcp: {echo: {}}}]\n", "1:54",
       "listeners[0].reuseport", "not for unix"},
      {"listeners: [{name: a, address: \"1.1.1.1:1\", reuseport: maybe, tcp: {echo: {}}}]\n", "1:56",
       "listeners[0].reuseport", "neither true nor false"},
      {"listeners: [{name: a, address: \"1.1.1.1:1\", backlog: 0, tcp: {echo: {}}}]\n", "1:54", "listeners[0].backlog",
       "1 … 65535"},
      {"listeners: [{name: a, address: \"1.1.1.1:1\", tls: {certificate: /c, key: /k}, tcp: {echo: {}}}]\n", "1:50",
       "listeners[0].tls", "is for http listeners"},
      {"listeners:\n- {name: a, address: \"1.1.1.1:1\", tcp: {echo: {}}}\n- {name: a, address: \"1.1.1.1:2\", tcp: "
       "{echo: "
       "{}}}\n",
       "3:10", "listeners[1].name", "second listener named a"},
      {"listeners:\n- {name: a, address: \"1.1.1.1:1\", tcp: {echo: {}}}\n- {name: b, address: \"1.1.1.1:1\", tcp: "
       "{echo: "
       "{}}}\n",
       "3:22", "listeners[1].address", "used by listeners[0] already"},
      {"listeners:\n- {name: a, address: \"unix:/x\", tcp: {echo: {}}}\n- {name: b, address: \"unix:/x\", tcp: {echo: "
       "{}}}\n",
       "3:22", "listeners[1].address", "use another path"},
      {"listeners: [{name: a, address: \"127.0.0.1:9090\", tcp: {echo: {}}}]\n", "1:32", "listeners[0].address",
       "used by admin already"},
      // Routes.
      {"listeners: [{name: a, address: \"1.1.1.1:1\", http: {}}]\n", "1:51", "listeners[0].http.routes",
       "at least one"},
      {with_route("echo: {}"), "6:7", "listeners[0].http.routes[0].path", "required"},
      {with_route("{path: x, echo: {}}"), "6:14", "listeners[0].http.routes[0].path", "begin with /"},
      {with_route("{path: /a*, echo: {}}"), "6:14", "listeners[0].http.routes[0].path", "/prefix/*"},
      {with_route("{path: /*/b, echo: {}}"), "6:14", "listeners[0].http.routes[0].path", "/prefix/*"},
      {with_route("{path: \"/\\n\", echo: {}}"), "6:14", "listeners[0].http.routes[0].path", "control"},
      {with_route("{path: /a%20b, echo: {}}"), "6:14", "listeners[0].http.routes[0].path", "compared decoded"},
      {with_route("{path: \"/a?b\", echo: {}}"), "6:14", "listeners[0].http.routes[0].path", "leave them out"},
      {with_route("{path: \"/a#b\", echo: {}}"), "6:14", "listeners[0].http.routes[0].path", "leave them out"},
      {with_route("{path: /a/../b, echo: {}}"), "6:14", "listeners[0].http.routes[0].path", "without . and .."},
      {with_route("{path: /a//b, echo: {}}"), "6:14", "listeners[0].http.routes[0].path", "with single slashes"},
      {with_route("{path: //*, echo: {}}"), "6:14", "listeners[0].http.routes[0].path", "with single slashes"},
      {with_route("{path: /a/./*, echo: {}}"), "6:14", "listeners[0].http.routes[0].path", "without . and .."},
      {with_route("{path: /a/.., echo: {}}"), "6:14", "listeners[0].http.routes[0].path", "without . and .."},
      {with_route("{path: /., echo: {}}"), "6:14", "listeners[0].http.routes[0].path", "without . and .."},
      {with_route("{path: /}"), "6:7", "listeners[0].http.routes[0]", "one of respond"},
      {with_route("{path: /, echo: {}, respond: {}}"), "6:23", "listeners[0].http.routes[0].echo", "only one"},
      {with_route("{path: /, methods: [GTE], echo: {}}"), "6:27", "listeners[0].http.routes[0].methods[0]",
       "did you mean GET?"},
      {with_route("{path: /, methods: GET, echo: {}}"), "6:26", "listeners[0].http.routes[0].methods", "list"},
      {with_route("{path: /, host: \"a:80\", echo: {}}"), "6:23", "listeners[0].http.routes[0].host", "without port"},
      {with_route("{path: /, host: \"[::1]:80\", echo: {}}"), "6:23", "listeners[0].http.routes[0].host",
       "without port"},
      {with_route("{path: /, host: \"a.*.b\", echo: {}}"), "6:23", "listeners[0].http.routes[0].host",
       "optionally prefixed by"},
      {with_route("{path: /, host: \"*\", echo: {}}"), "6:23", "listeners[0].http.routes[0].host",
       "optionally prefixed by"},
      {with_route("{path: /, host: \"*..\", echo: {}}"), "6:23", "listeners[0].http.routes[0].host",
       "optionally prefixed by"},
      {with_route("{path: /, host: .a, echo: {}}"), "6:23", "listeners[0].http.routes[0].host",
       "optionally prefixed by"},
      {with_route("{path: /, host: ., echo: {}}"), "6:23", "listeners[0].http.routes[0].host",
       "optionally prefixed by"},
      {with_route("{path: /, timeout: 0s, echo: {}}"), "6:26", "listeners[0].http.routes[0].timeout", "1ms … 1d"},
      {with_route("{path: /, body_size: -1, echo: {}}"), "6:28", "listeners[0].http.routes[0].body_size",
       "-1 is out of range"},
      {with_route("{path: /, respond: {status: 199}}"), "6:35", "listeners[0].http.routes[0].respond.status",
       "200 … 599"},
      {with_route("{path: /, respond: {status: 204, body: x}}"), "6:46", "listeners[0].http.routes[0].respond.body",
       "no body"},
      {with_route("{path: /, respond: {status: 205, body: x}}"), "6:46", "listeners[0].http.routes[0].respond.body",
       "no body"},
      {with_route("{path: /, respond: {headers: {\"a b\": c}}}"), "6:37",
       "listeners[0].http.routes[0].respond.headers.a b", "not a field name"},
      {with_route("{path: /, respond: {headers: {a: \"x\\ny\"}}}"), "6:37",
       "listeners[0].http.routes[0].respond.headers.a", "control"},
      {with_route("{path: /, respond: {headers: {Content-Length: 5}}}"), "6:37",
       "listeners[0].http.routes[0].respond.headers.Content-Length", "set by the server"},
      {with_route("{path: /, respond: {headers: {a: [1]}}}"), "6:37", "listeners[0].http.routes[0].respond.headers.a",
       "string"},
      {with_route("{path: /, redirect: {}}"), "6:27", "listeners[0].http.routes[0].redirect.location", "required"},
      {with_route("{path: /, redirect: {location: \"a b\"}}"), "6:38", "listeners[0].http.routes[0].redirect.location",
       "characters of a URI"},
      {with_route("{path: /, redirect: {location: /n, status: 304}}"), "6:50",
       "listeners[0].http.routes[0].redirect.status", "one of 301"},
      {with_route("{path: /, redirect: {location: \"/v/$1\"}}"), "6:38",
       "listeners[0].http.routes[0].redirect.location",
       "\"$1\" stands for nothing here; what is below a prefix is ${rest}"},
      {with_route("{path: /, files: {}}"), "6:24", "listeners[0].http.routes[0].files.root", "required"},
      {with_route("{path: /, files: {root: /x, index: [a/b]}}"), "6:43", "listeners[0].http.routes[0].files.index[0]",
       "no file name"},
      {with_route("{path: /, methods: [GET, POST], files: {root: /x}}"), "6:26", "listeners[0].http.routes[0].methods",
       "GET and HEAD, not POST"},
      {with_route("{path: /, methods: [HEAD], files: {root: /x}}"), "6:26", "listeners[0].http.routes[0].methods",
       "needs GET"},
      {with_route("{path: /, methods: [GTE], files: {root: /x}}"), "6:27", "listeners[0].http.routes[0].methods[0]",
       "did you mean GET?"},
      {with_route("{path: /, echo: {}}\n    hosts: [\"a:80\"]"), "7:13", "listeners[0].http.hosts[0]", "without port"},
      {with_route("{path: /, echo: {}}\n    hosts: [\"a.*.b\"]"), "7:13", "listeners[0].http.hosts[0]", "without port"},
      {with_route("{path: /, files: {root: /x, precompressed: [lzma]}}"), "6:50",
       "listeners[0].http.routes[0].files.precompressed", "of br, zstd, gzip"},
      {with_route("{path: /, files: {root: /x, precompressed: [br, br]}}"), "6:50",
       "listeners[0].http.routes[0].files.precompressed", "twice"},
      {with_route("{path: /, files: {root: /x, try_files: [$path/../x]}}"), "6:47",
       "listeners[0].http.routes[0].files.try_files[0]", "out of the root"},
      {with_route("{path: /, files: {root: /x, fallback: ../x}}"), "6:45", "listeners[0].http.routes[0].files.fallback",
       "out of the root"},
      {with_route("{path: /, files: {root: /x, ranges: 257}}"), "6:43", "listeners[0].http.routes[0].files.ranges",
       "0 … 256"},
      {with_route("{path: /, files: {root: /x, cache_control: \"a\\nb\"}}"), "6:50",
       "listeners[0].http.routes[0].files.cache_control", "control"},
      {with_route("{path: /, proxy: {upstream: a}}"), "6:17", "listeners[0].http.routes[0].proxy", "not available"},
      {with_route("{path: /, echo: {}}\n    - {path: /, echo: {}}"), "7:14", "listeners[0].http.routes[1].path",
       "a second route for / with all methods"},
      {with_route("{path: /, host: a, echo: {}}\n    - {path: /, host: A., echo: {}}"), "7:14",
       "listeners[0].http.routes[1].path", "a second route for / with all methods"},
      {with_route("{path: /, methods: [GET], echo: {}}\n    - {path: /, methods: [GET, POST], echo: {}}"), "7:14",
       "listeners[0].http.routes[1].path", "a second route for / with GET"},
  };
  CHECK(cases.size() >= 80);
  for (const Bad& bad : cases) {
    const Outcome o = load(bad.yaml);
    INFO(bad.yaml << "gives:\n" << all(o));
    const std::string place = "f.yaml:" + bad.where + ": ";
    const auto match = std::find_if(o.diagnostics.begin(), o.diagnostics.end(), [&](const Diagnostic& d) {
      return d.to_string().starts_with(place) && d.key == bad.key && d.message.find(bad.message) != std::string::npos;
    });
    INFO("wanted: " << place << bad.key << ": " << bad.message);
    CHECK(match != o.diagnostics.end());
    CHECK(o.diagnostics.size() == 1);
  }
}

TEST_CASE("limits: what is wrong is said with its place", "[config]") {
  struct Wrong {
    std::string limits;  // of a route
    std::string key;
    std::string message;
  };
  const std::vector<Wrong> cases{
      {"rate_limit: {}", "rate_limit", "rate is required"},
      {"rate_limit: {rate: 5}", "rate_limit.rate", "is not a rate like 100/s"},
      {"rate_limit: {rate: 5/d}", "rate_limit.rate", "is not a rate like 100/s"},
      {"rate_limit: {rate: -5/s}", "rate_limit.rate", "out of range"},
      {"rate_limit: {rate: 1.5/s}", "rate_limit.rate", "is not a rate"},
      {"rate_limit: {rate: 0/s}", "rate_limit.rate", "out of range; allowed: 1/h … 1000000000/s"},
      {"rate_limit: {rate: 1/s, burst: -1}", "rate_limit.burst", "out of range"},
      {"rate_limit: {rate: 1/s, key: ip}", "rate_limit.key", "none, address or header:NAME"},
      {"rate_limit: {rate: 1/s, key: \"header:\"}", "rate_limit.key", "not a field name"},
      {"rate_limit: {rate: 1/s, key: \"header:a b\"}", "rate_limit.key", "not a field name"},
      {"rate_limit: {rate: 1/s, keys: 5}", "rate_limit.keys", "for a key only"},
      {"rate_limit: {rate: 1/s, key: address, keys: 0}", "rate_limit.keys", "1 … 1000000"},
      {"rate_limit: {rate: 1/s, status: 200}", "rate_limit.status", "400 … 599"},
      {"rate_limit: {rate: 1/s, dry_run: maybe}", "rate_limit.dry_run", "neither true nor false"},
      {"rate_limit: {rat: 1/s, rate: 1/s}", "rate_limit.rat", "did you mean rate?"},
      {"concurrency: {}", "concurrency", "limit is required"},
      {"concurrency: {limit: 0}", "concurrency.limit", "1 … 1000000"},
      {"concurrency: {limit: 1, max_wait: 1s}", "concurrency.max_wait", "set queue"},
      {"concurrency: {limit: 1, codel: {}}", "concurrency.codel", "set queue"},
      {"concurrency: {limit: 1, priority: \"header:X\"}", "concurrency.priority", "set queue"},
      {"concurrency: {limit: 1, queue: 1, max_wait: 0s}", "concurrency.max_wait", "out of range"},
      {"concurrency: {limit: 1, queue: 1, priority: X-Prio}", "concurrency.priority", "header:NAME"},
      {"concurrency: {limit: 1, adaptive: {min: 1}}", "concurrency.adaptive", "max is required"},
      {"concurrency: {limit: 1, adaptive: {min: 5, max: 4}}", "concurrency.adaptive.min", "more than max"},
      {"worker_pool: {}", "worker_pool", "workers is required"},
      {"worker_pool: {workers: 0}", "worker_pool.workers", "1 … 1000000"},
      {"worker_pool: {workers: 2, least: 3}", "worker_pool.least", "more than workers"},
      {"worker_pool: {workers: 2, idle: 0s}", "worker_pool.idle", "out of range"},
      {"worker_pool: {workers: 1, queue: 0, max_wait: 1s}", "worker_pool.max_wait", "set queue"},
  };
  for (const Wrong& wrong : cases) {
    const Outcome o = load(with_route("{path: /, echo: {}, " + wrong.limits + "}"));
    INFO(wrong.limits << " gives:\n" << all(o));
    REQUIRE(o.diagnostics.size() == 1);
    CHECK(o.diagnostics[0].key == "listeners[0].http.routes[0]." + wrong.key);
    CHECK(o.diagnostics[0].message.find(wrong.message) != std::string::npos);
    CHECK(o.diagnostics[0].line == 6);
    CHECK(o.diagnostics[0].column > 18);
    // The same for the listener as a whole.
    CHECK_FALSE(load(with_route("{path: /, echo: {}}\n    " + wrong.limits)).ok());
  }
  const std::string tcp = "listeners: [{name: t, address: \"127.0.0.1:0\", tcp: {echo: {}, ";
  for (const auto& [limits, message] : std::vector<std::pair<std::string, std::string>>{
           {"rate_limit: {rate: 1/s, key: \"header:X\"}", "none or address"},
           {"rate_limit: {rate: 1/s, status: 429}", "unknown key"},
           {"concurrency: {limit: 1, adaptive: {min: 1, max: 2}}", "unknown key"},
           {"concurrency: {limit: 1}, worker_pool: {workers: 1}", "use one of"}}) {
    const Outcome o = load(tcp + limits + "}}]\n");
    INFO(limits << " gives:\n" << all(o));
    REQUIRE(o.diagnostics.size() == 1);
    CHECK(o.diagnostics[0].message.find(message) != std::string::npos);
  }
}

TEST_CASE("limits load", "[config]") {
  const Outcome o = load(with_route(
      "{path: /, echo: {}, rate_limit: {rate: 30/m, burst: 7, key: \"header:X-Api-Key\", keys: 5, status: 420, "
      "dry_run: "
      "true}, concurrency: {limit: 9, queue: 8, max_wait: 7ms, codel: {target: 6ms, interval: 5ms}, adaptive: {min: 4, "
      "max: 30}, priority: \"header:X-P\", dry_run: true}, worker_pool: {workers: 3, least: 2, idle: 4s, queue: 2, "
      "max_wait: 1ms, dry_run: "
      "true}}\n    rate_limit: {rate: 5/h, key: address}"));
  INFO(all(o));
  REQUIRE(o.ok());
  const auto& http = std::get<HttpConfig>(o.config.listeners[0].service);
  const FlowConfig& f = http.routes[0].flow;
  CHECK(f.rate_limit->per_hour == 1800);
  CHECK(f.rate_limit->burst == 7);
  CHECK(f.rate_limit->key == LimitKey::header);
  CHECK(f.rate_limit->header == "X-Api-Key");
  CHECK(f.rate_limit->keys == 5);
  CHECK(f.rate_limit->status == 420);
  CHECK(f.rate_limit->dry_run);
  CHECK(f.concurrency->limit == 9);
  CHECK(f.concurrency->queue == 8);
  CHECK(f.concurrency->max_wait == 7ms);
  CHECK(f.concurrency->target == 6ms);
  CHECK(f.concurrency->interval == 5ms);
  CHECK(f.concurrency->adaptive == std::pair(4U, 30U));
  CHECK(f.concurrency->priority_header == "X-P");
  CHECK(f.concurrency->dry_run);
  CHECK(f.worker_pool->workers == 3);
  CHECK(f.worker_pool->least == 2);
  CHECK(f.worker_pool->idle == 4s);
  CHECK(f.worker_pool->queue == 2);
  CHECK(f.worker_pool->max_wait == 1ms);
  CHECK(f.worker_pool->dry_run);
  CHECK(http.flow.rate_limit->per_hour == 5);
  CHECK(http.flow.rate_limit->key == LimitKey::address);
  CHECK_FALSE(http.flow.concurrency.has_value());
}

TEST_CASE("all that is wrong is said in one run, in the file's order", "[config]") {
  const Outcome o = load("runtime: {gomaxprocs: x, stack_size: 1}\nlog: {level: y}\nlisteners: []\nadmn: {}\n");
  INFO(all(o));
  REQUIRE(o.diagnostics.size() == 5);
  CHECK(std::is_sorted(o.diagnostics.begin(), o.diagnostics.end(), [](const Diagnostic& a, const Diagnostic& b) {
    return std::pair(a.line, a.column) < std::pair(b.line, b.column);
  }));
}

TEST_CASE("routes of one path differ by method or host", "[config]") {
  const Outcome o =
      load(with_route("{path: /, methods: [GET], echo: {}}\n    - {path: /, methods: [POST], echo: {}}\n    - {path: "
                      "/, host: h, echo: {}}"));
  INFO(all(o));
  CHECK(o.ok());
}

TEST_CASE("an address that cannot be bound is refused where it is read", "[config]") {
  for (const char* const address : {"999.1.1.1:80", "1.2.3:80", "abc:80", "[]:80", "[1:2]:80", "[::1]]:80", "[[::1]:80",
                                    "::1:80", "1.2.3.4.5:80"}) {
    CAPTURE(address);
    const Outcome o = load("listeners: [{name: t, address: \"" + std::string(address) + "\", tcp: {echo: {}}}]\n");
    REQUIRE(o.diagnostics.size() == 1);
    CHECK(o.diagnostics[0].key == "listeners[0].address");
    CHECK(!load("admin: {address: \"" + std::string(address) + "\"}\n" + kListener).ok());
  }
  for (const char* const address : {":80", "0.0.0.0:80", "[::]:80", "[::1]:80", "[::ffff:1.2.3.4]:80"})
    CHECK(all(load("listeners: [{name: t, address: \"" + std::string(address) + "\", tcp: {echo: {}}}]\n")).empty());
}

TEST_CASE("of two routes with one path, GET in one and HEAD in the other clash: GET brings HEAD", "[config]") {
  const auto two = [](const std::string& first, const std::string& second) {
    return load(with_route("{path: /a, methods: " + first + ", echo: {}}\n    - {path: /a, methods: " + second +
                           ", echo: {}}"));
  };
  CHECK(!two("[GET]", "[HEAD]").ok());
  CHECK(!two("[HEAD]", "[POST, GET]").ok());
  CHECK(two("[GET, HEAD]", "[POST]").ok());
  CHECK(two("[HEAD]", "[POST]").ok());
}

TEST_CASE("admin: a Unix socket's mode and owner", "[config]") {
  CHECK(load(kListener).config.admin.mode == 0600);
  const Outcome o = load("admin: {address: \"unix:/a\", mode: 0660, owner: \"root:\"}\n" + kListener);
  CHECK(all(o).empty());
  CHECK(o.config.admin.mode == 0660);
  CHECK(o.config.admin.owner == "root:");
  CHECK(!load("admin: {address: \"127.0.0.1:1\", mode: 0660}\n" + kListener).ok());
}

TEST_CASE("what looks like a path or a host that is refused, and is none", "[config]") {
  for (const char* path : {"/...", "/.a/..b", "/a/.well-known/*", "\"/a b\"", "/\xc3\xa9", "/a;b/"}) {
    const Outcome o = load(with_route(std::string("{path: ") + path + ", echo: {}}"));
    INFO(all(o));
    CHECK(o.ok());
  }
  const Outcome o = load(with_route("{path: /, host: \"*.Example.org.\", methods: [HEAD, GET], files: {root: /x}}") +
                         "    hosts: [Example.org., \"*.example.org\"]\n");
  INFO(all(o));
  REQUIRE(o.ok());
  const auto& http = std::get<HttpConfig>(o.config.listeners[0].service);
  CHECK(http.routes[0].host == "*.example.org");
  CHECK(http.hosts == std::vector<std::string>{"example.org", "*.example.org"});
}

TEST_CASE("file_cache: what is kept of files", "[config]") {
  const Outcome by_default = load(kListener);
  REQUIRE(by_default.ok());
  CHECK(by_default.config.file_cache.files == 1024);
  CHECK(by_default.config.file_cache.memory == std::uint64_t{32} << 20U);
  CHECK(by_default.config.file_cache.age == std::chrono::seconds(10));
  const Outcome o = load("file_cache: {files: 0, memory: 1MiB, age: 5m}\n" + kListener);
  INFO(all(o));
  REQUIRE(o.ok());
  CHECK(o.config.file_cache.files == 0);
  CHECK(o.config.file_cache.memory == std::uint64_t{1} << 20U);
  CHECK(o.config.file_cache.age == std::chrono::minutes(5));
  CHECK_FALSE(load("file_cache: {files: 1000001}\n" + kListener).ok());
  CHECK_FALSE(load("file_cache: {age: 0s}\n" + kListener).ok());
}

TEST_CASE("profiles: how much the sampled profiles look at", "[config]") {
  const Outcome by_default = load(kListener);
  REQUIRE(by_default.ok());
  CHECK(by_default.config.profiles.heap_rate == 512 * 1024);
  CHECK(by_default.config.profiles.block_rate == std::chrono::nanoseconds(0));
  CHECK(by_default.config.profiles.mutex_fraction == 0);
  const Outcome o = load("profiles: {heap_rate: 0, block_rate: 100us, mutex_fraction: 10}\n" + kListener);
  INFO(all(o));
  REQUIRE(o.ok());
  CHECK(o.config.profiles.heap_rate == 0);
  CHECK(o.config.profiles.block_rate == std::chrono::microseconds(100));
  CHECK(o.config.profiles.mutex_fraction == 10);
  for (const char* const wrong : {"heap_rate: 2TiB", "block_rate: 2h", "mutex_fraction: 2000000000", "rate: 1"})
    CHECK_FALSE(load(std::string("profiles: {") + wrong + "}\n" + kListener).ok());
}

TEST_CASE("whether somebody wrote the admin listener's address is known", "[config]") {
  const std::string listeners = "listeners: [{name: a, address: \"127.0.0.1:0\", tcp: {echo: {}}}]\n";
  CHECK(load(listeners).config.admin.by_default);
  CHECK(load(listeners).config.admin.address == "127.0.0.1:9090");
  CHECK_FALSE(load(listeners + "admin: {address: \"127.0.0.1:9090\"}\n").config.admin.by_default);
  CHECK_FALSE(load(listeners, {"admin.address=127.0.0.1:9090"}).config.admin.by_default);
  CHECK(load_text(default_config(), "built-in", {}).config.admin.by_default);
}

TEST_CASE("a file that cannot be read is an error with its name", "[config]") {
  for (const char* path : {"/nowhere/f.yaml", "/"}) {
    const Outcome o = load_file(path);
    REQUIRE(o.diagnostics.size() == 1);
    CHECK(o.diagnostics[0].source == path);
    CHECK_FALSE(o.diagnostics[0].message.empty());
  }
}

TEST_CASE("keepalive: its keys, its defaults, and where it has no place", "[config]") {
  const std::string begin = "listeners: [{name: t, address: \"127.0.0.1:0\", ";
  Outcome o = load(begin + "tcp: {echo: {}}}]\n");
  INFO(all(o));
  REQUIRE(o.config.listeners.size() == 1);
  CHECK(o.config.listeners[0].keep_alive.idle == 60s);
  CHECK(o.config.listeners[0].keep_alive.interval == 15s);
  CHECK(o.config.listeners[0].keep_alive.count == 4);
  for (const char* const service : {"tcp: {echo: {}}", "http: {routes: []}", "aggregate: {protocol: tcp}"}) {
    o = load(begin + "keepalive: {idle: 2m, interval: 3s, count: 5}, " + service + "}]\n");
    INFO(all(o));
    REQUIRE(o.config.listeners.size() == 1);
    CHECK(o.config.listeners[0].keep_alive.idle == 120s);
    CHECK(o.config.listeners[0].keep_alive.interval == 3s);
    CHECK(o.config.listeners[0].keep_alive.count == 5);
  }
  CHECK(load(begin + "keepalive: {idle: 0s}, tcp: {echo: {}}}]\n").config.listeners[0].keep_alive.idle == 0s);
  CHECK(all(load(begin + "keepalive: {idle: 1500ms}, tcp: {echo: {}}}]\n")).find("must be whole seconds") !=
        std::string::npos);
  CHECK(all(load(begin + "keepalive: {interval: 0s}, tcp: {echo: {}}}]\n")).find("1s …") != std::string::npos);
  CHECK(all(load(begin + "keepalive: {count: 0}, tcp: {echo: {}}}]\n")).find("1 … 127") != std::string::npos);
  CHECK(all(load("listeners: [{name: t, address: \"unix:/t\", keepalive: {idle: 1s}, tcp: {echo: {}}}]\n"))
            .find("keepalive: is not for unix: addresses") != std::string::npos);
}

TEST_CASE("target_size follows header_size, and is no larger", "[config]") {
  const auto size = [](const std::string& limits) {
    const Outcome o =
        load("listeners: [{name: t, address: \"127.0.0.1:0\", http: {limits: {" + limits + "}, routes: []}}]\n");
    INFO(all(o));
    REQUIRE(o.config.listeners.size() == 1);
    return std::get<HttpConfig>(o.config.listeners[0].service).limits.target_size;
  };
  CHECK(size("") == 8 * 1024);
  CHECK(size("header_size: 64KiB") == 56 * 1024);
  CHECK(size("header_size: 12KiB") == 8 * 1024);
  CHECK(size("header_size: 4KiB") == 4 * 1024);
  CHECK(size("header_size: 64KiB, target_size: 1KiB") == 1024);
  CHECK(all(load("listeners: [{name: t, address: \"127.0.0.1:0\", "
                 "http: {limits: {header_size: 4KiB, target_size: 5KiB}, routes: []}}]\n"))
            .find("is larger than header_size") != std::string::npos);
}

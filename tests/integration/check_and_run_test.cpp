// `check` and `run` judge a configuration alike: what one refuses the other refuses, with the same lines and the same
// exit code; and what check takes, run starts on.
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/net/endpoint.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

namespace fs = std::filesystem;

/// Which line of the configuration below is another one.
enum class Where : int { admin = 1, listener = 4, server = 6, route = 8, last = 9 };

/// With @/ for the directory in which there are: site/ (a directory), file, big (65 KiB), site/socket (a file).
std::string with_line(Where where, const std::string& line, const std::string& directory) {
  std::vector<std::string> lines{"admin: {address: \"127.0.0.1:0\"}",
                                 "listeners:",
                                 "- name: w",
                                 "  address: \"127.0.0.1:0\"",
                                 "  http:",
                                 "    server: x",
                                 "    routes:",
                                 "    - {path: /, echo: {}}",
                                 ""};
  lines[static_cast<std::size_t>(where) - 1] = line;
  std::string text;
  for (const std::string& l : lines) text += l + "\n";
  for (std::size_t at = text.find("@/"); at != std::string::npos; at = text.find("@/", at + directory.size()))
    text.replace(at, 1, directory);
  return text;
}

struct Bad {
  int code;
  Where where;
  const char* line;
  const char* key;   // in the message
  const char* says;  // too
};

const std::string kLongTemplate =
    "    access_log: {format: template, template: \"" + std::string(4'090, 'x') + "${target}\"}";

const std::vector<Bad>& bad_ones() {
  using enum Where;
  static const std::vector<Bad> all{
      // what is not there
      {2, route, "    - {path: /*, files: {root: @/nowhere}}", "routes[0].files.root", "No such file"},
      {2, route, "    - {path: /*, files: {root: @/file}}", "routes[0].files.root", "Not a directory"},
      {2, route, "    - {path: /*, files: {root: \"$HOME/nowhere\"}}", "routes[0].files.root", "are not replaced"},
      {2, route, "    - {path: /*, files: {root: \"~/nowhere\"}}", "routes[0].files.root", "are not replaced"},
      {2, server, "    error_pages: {404: @/nowhere.html}", "error_pages.404", "No such file"},
      {2, server, "    error_pages: {404: @/site}", "error_pages.404", "directory"},
      {2, server, "    error_pages: {404: @/big}", "error_pages.404", "File too large"},
      {2, server, "    error_pages: {404: @/file, 0404: @/file}", "error_pages.0404", "a second page for 404"},
      {2, server, "    access_log: {format: json, output: @/no/dir/log}", "access_log.output", "No such file"},
      {2, server, "    access_log: {format: json, output: @/site}", "access_log.output", "directory"},
      {2, server, "    access_log: {format: json, output: @/file/log}", "access_log.output", "Not a directory"},
      {2, last, "log: {output: @/no/dir/log}", "log.output", "No such file"},
      {2, last, "log: {output: @/site}", "log.output", "directory"},
      {2, last, "log: {output: @/dangling}", "log.output", "No such file"},
      {2, last, "- {name: u, address: \"unix:@/u\", owner: nobody-here, tcp: {echo: {}}}", "owner",
       "no user nobody-here"},
      {2, last, "- {name: u, address: \"unix:@/u\", owner: \"root:nobody-here\", tcp: {echo: {}}}", "owner",
       "no group"},
      {2, last, "- {name: u, address: \"unix:@/u\", owner: \":\", tcp: {echo: {}}}", "owner", "neither user nor group"},
      {2, admin, "admin: {address: \"unix:@/a\", owner: nobody-here}", "admin.owner", "no user nobody-here"},
      {2, admin, "admin: {address: \"127.0.0.1:0\", token_file: @/nowhere}", "admin.token_file", "No such file"},
      {2, last, "trace: {on_stall: true, directory: @/nowhere}", "trace.directory", "No such file"},
      {2, last, "trace: {on_stall: true, directory: @/file}", "trace.directory", "Not a directory"},
      {2, admin, "admin: {address: \"127.0.0.1:0\", token_file: @/file}", "admin.token_file", "16 bytes"},
      {2, admin, "admin: {address: \"0.0.0.0:0\"}", "admin.address", "needs admin.token_file"},
      {2, admin, "admin: {address: \"unix:@/a\", mode: 0666}", "admin.mode", "needs admin.token_file"},
      {2, route, "    - {path: /, handler: nobody}", "routes[0].handler", "no HTTP handler"},
      // addresses
      {3, last, "- {name: u, address: \"unix:@/no/dir/u\", tcp: {echo: {}}}", "listeners[1].address", "No such file"},
      {3, last, "- {name: u, address: \"unix:@/file\", tcp: {echo: {}}}", "listeners[1].address", "no socket"},
      {3, admin, "admin: {address: \"unix:@/no/dir/a\"}", "admin.address", "No such file"},
      {3, last, "- {name: v, address: \"198.51.100.7:0\", tcp: {echo: {}}}", "listeners[1].address", "assign"},
      {3, last, "- {name: v, address: \"198.51.100.7:0\", aggregate: {protocol: udp}}", "listeners[1].address",
       "assign"},
      {2, last, "- {name: v, address: \"unix:@/site/\", tcp: {echo: {}}}", "listeners[1].address", "name of a file"},
      {2, last, "- {name: v, address: \"unix:@/a\\0b\", tcp: {echo: {}}}", "listeners[1].address", "control"},
      {2, last, "- {name: v, address: \"unix:$XDG_RUNTIME_DIR/a\", tcp: {echo: {}}}", "listeners[1].address", "$XDG"},
      {2, listener, "  address: \"999.1.1.1:80\"", "listeners[0].address", "not a numeric address"},
      {2, listener, "  address: \"[::1]]:80\"", "listeners[0].address", "not a numeric address"},
      {2, listener, "  address: \"localhost:80\"", "listeners[0].address", "not a numeric address"},
      {2, listener, "  address: \"127.0.0.1:65536\"", "listeners[0].address", "not a port"},
      {2, admin, "admin: {address: \"[1:2]:80\"}", "admin.address", "not a numeric address"},
      // addresses that exclude each other
      {2, last, "- {name: a, address: \":7\", tcp: {echo: {}}}\n- {name: b, address: \"0.0.0.0:7\", tcp: {echo: {}}}",
       "listeners[2].address", "the same address"},
      {2, last,
       "- {name: a, address: \"[::1]:7\", tcp: {echo: {}}}\n- {name: b, address: \"[0:0::1]:7\", tcp: {echo: {}}}",
       "listeners[2].address", "the same address"},
      {2, last,
       "- {name: a, address: \"127.0.0.1:7\", tcp: {echo: {}}}\n- {name: b, address: \"0.0.0.0:7\", tcp: {echo: {}}}",
       "listeners[2].address", "0.0.0.0:7 is every IPv4 address"},
      {2, last, "- {name: a, address: \"[::]:7\", tcp: {echo: {}}}\n- {name: b, address: \"[::1]:7\", aggregate: {}}",
       "listeners[2].address", "[::]:7 is every IPv6 address"},
      {2, last,
       "- {name: a, address: \"127.0.0.1:7\", tcp: {echo: {}}}\n- {name: b, address: \"[::]:7\", tcp: {echo: {}}}",
       "listeners[2].address", "[::]:7 takes IPv4, too"},
      {2, last, "- {name: a, address: \"0.0.0.0:7\", tcp: {echo: {}}}\n- {name: b, address: \"[::]:7\", aggregate: {}}",
       "listeners[2].address", "for one protocol only"},
      {2, last,
       "- {name: a, address: \"1.2.3.4:7\", tcp: {echo: {}}}\n- {name: b, address: \"[::ffff:1.2.3.4]:7\", tcp: {echo: "
       "{}}}",
       "listeners[2].address", "the same address"},
      {2, last,
       "- {name: a, address: \"unix:@/x\", tcp: {echo: {}}}\n- {name: b, address: \"unix:@/site/../x\", tcp: {echo: "
       "{}}}",
       "listeners[2].address", "the same path"},
      {3, last,
       "- {name: a, address: \"unix:@/x\", tcp: {echo: {}}}\n- {name: b, address: \"unix:@/link/x\", tcp: {echo: {}}}",
       "listeners[2].address", "the same file"},
      {2, last, "metrics: {address: [\":7\", \"127.0.0.1:7\"]}", "metrics.address[1]", ":7 is every IPv4 address"},
      {2, last, "metrics: {address: \"unix:@/m\"}", "metrics.address", "over TCP"},
      {3, last, "metrics: {address: \"198.51.100.7:0\"}", "metrics.address", "assign"},
      // text that means something elsewhere
      {2, route, "    - {path: /*, files: {root: @/site, try_files: [$uri, $uri/]}}", "try_files[0]", "write $path"},
      {2, route, "    - {path: /*, files: {root: @/site, try_files: [$path, \"${FIBERD_NO}/x\"]}}", "try_files[1]",
       "the environment has no FIBERD_NO"},
      {2, route, "    - {path: /*, files: {root: @/site, try_files: [$path, $pathname]}}", "try_files[1]", "$pathname"},
      {2, route, "    - {path: /*, files: {root: @/site, try_files: [$path, =404]}}", "try_files[1]",
       "404 is the answer"},
      {2, route, "    - {path: /*, files: {root: @/site, try_files: [$path, \"@app\"]}}", "try_files[1]",
       "use fallback"},
      {2, route, "    - {path: /*, files: {root: @/site, try_files: [$path, \"\"]}}", "try_files[1]", "is empty"},
      {2, route, "    - {path: /*, files: {root: @/site, fallback: $uri}}", "files.fallback", "one file"},
      {2, route, "    - {path: /*, files: {root: @/site, fallback: app/}}", "files.fallback", "ends in /"},
      {2, route, "    - {path: /*, files: {root: @/site, index: [\"${FIBERD_NO}\"]}}", "files.index[0]",
       "the environment has no"},
      {2, route, "    - {path: /*, files: {root: @/site, cache_control: \"${FIBERD_NO}\"}}", "cache_control", "has no"},
      {2, route, "    - {path: /, redirect: {location: \"https://$host$request_uri\"}}", "redirect.location",
       "braces: ${host}"},
      {2, route, "    - {path: /, redirect: {location: \"https://${FIBERD_NO}/\"}}", "redirect.location", "has no"},
      {2, route, "    - {path: /, respond: {headers: {X-Host: $host}}}", "respond.headers.X-Host", "braces: ${host}"},
      {2, route, "    - {path: \"/users/{id}\", echo: {}}", "routes[0].path", "{id}"},
      {2, route, "    - {path: \"/${FIBERD_NO}/*\", echo: {}}", "routes[0].path", "has no"},
      {2, route, "    - {path: /, host: \"${FIBERD_NO}\", echo: {}}", "routes[0].host", "has no"},
      {2, route, "    - {path: /, host: \"~^www\", echo: {}}", "routes[0].host", "not a host name"},
      {2, route,
       "    - {path: /, host: \"b\xc3\xbc"
       "cher.example\", echo: {}}",
       "routes[0].host", "xn--"},
      {2, server, "    hosts: [a.example, \"$host\"]", "http.hosts[1]", "$host"},
      {2, admin, "admin: {address: \"127.0.0.1:0\", hosts: [ok, \"a b\"]}", "admin.hosts[1]", "not a host name"},
      {2, server, "    access_log: {format: json, output: \"/tmp/$HOSTNAME.log\"}", "access_log.output", "$HOSTNAME"},
      {2, last, "log: {output: \"/tmp/${FIBERD_NO}.log\"}", "log.output", "has no"},
      {2, last, "- {name: s, address: \"127.0.0.1:0\", aggregate: {flush: [{statsd: \"$UP:8125\"}]}}",
       "flush[0].statsd", "$UP"},
      {2, last,
       "- {name: s, address: \"127.0.0.1:0\", aggregate: {flush: [{prometheus: \"http://h/job/${FIBERD_NO}\"}]}}",
       "flush[0].prometheus", "has no"},
      // what would be ignored without a word
      {2, server, "    access_log: {output: stdout}", "access_log.output", "none is set"},
      {2, server, "    access_log: {format: json, output: off}", "access_log.output", "format: off"},
      {2, server, "    access_log: {format: json, output: \"\"}", "access_log.output", "is empty"},
      {2, listener, "  address: \"127.0.0.1:0\"\n  keepalive: {idle: 0s, count: 3}", "keepalive.count", "no"},
      {2, last, "- {name: s, address: \"127.0.0.1:0\", backlog: 5, aggregate: {protocol: udp}}", "backlog", "for tcp"},
      {2, last, "- {name: s, address: \"127.0.0.1:0\", aggregate: {protocol: udp, limits: {connections: 5}}}",
       "aggregate.limits", "TCP"},
      {2, last, "- {name: s, address: \"127.0.0.1:0\", aggregate: {protocol: tcp, receive_buffer: 1MiB}}",
       "receive_buffer", "UDP"},
      {2, last, "- {name: s, address: \"127.0.0.1:8125\", aggregate: {flush: [{statsd: \"localhost:8125\"}]}}",
       "flush[0].statsd", "this listener itself"},
      {2, last, "- {name: u, address: \"unix:@/u\", tcp: {echo: {}, limits: {connections_per_address: 5}}}",
       "connections_per_address", "unix:"},
      {2, last, "- {name: u, address: \"unix:@/u\", tcp: {echo: {}, rate_limit: {rate: 1/s, key: address}}}",
       "rate_limit.key", "unix:"},
      {2, last,
       "- {name: u, address: \"unix:@/u\", http: {routes: [{path: /, rate_limit: {rate: 1/s, key: address}, echo: "
       "{}}]}}",
       "routes[0].rate_limit.key", "unix:"},
      {2, server, "    concurrency: {limit: 5, queue: 5, codel: {target: 0s, interval: 1s}}", "codel.interval", "none"},
      {2, server, "    hosts: [a.example]\n    routes: [{path: /, host: b.example, echo: {}}]\n  x:", "routes[0].host",
       "421"},
      {2, server, "    rate_limit: {rate: }", "rate_limit", "rate is required"},
      {2, admin, "admin: {address: \"unix:@/a\", hosts: [a]}", "admin.hosts", "whatever the Host"},
      {2, route, "    - {path: /, methods: [GET, get], echo: {}}", "methods[1]", "is not allowed"},
      // other files and the environment
      {2, last, "include: [nowhere.yaml]", "include[0]", "No such file"},
      {2, last, "include: [site]", "include[0]", "is a directory"},
      {2, last, "include: [fiberd.yaml]", "include[0]", "include itself"},
      {2, last, "include: {a: b}", "include", "list of strings"},
      {2, server, "    server: \"${FIBERD_NO\"", "http.server", "without its }"},
      {2, server, "    server: \"${FIBERD_NO-x}\"", "http.server", "write ${FIBERD_NO} or"},
      {2, listener, "  address: \"127.0.0.1:${FIBERD_NO}\"", "listeners[0].address", "has no FIBERD_NO"},
      {2, listener, "  address: [\"127.0.0.1:7\", \":7\"]", "listeners[0].address[1]", "every IPv4"},
      {2, listener, "  address: []", "listeners[0].address", "is required"},
      // durations of several parts
      {2, last, "shutdown: {timeout: 1s1m}", "shutdown.timeout", "not a duration"},
      {2, last, "shutdown: {timeout: 1.5.s}", "shutdown.timeout", "not a duration"},
      {2, last, "shutdown: {timeout: 9999999999d}", "shutdown.timeout", "out of range"},
      // filters, logs and templates
      {2, server, "    allow: [10.0.0.1/8]", "http.allow[0]", "behind the prefix"},
      {2, server, "    cors: {origins: [\"*\"], credentials: true}", "cors.origins[0]", "name the origins"},
      {2, server, "    compress: {codings: [lzma]}", "compress.codings[0]", "of zstd, br, gzip"},
      {2, server, "    compres: {}", "http.compres", "unknown key"},
      {2, server, "    basic_auth: {realm: x}", "http.basic_auth", "file is required"},
      {2, server, "    headers: {set: {Content-Length: 5}}", "headers.set.Content-Length", "set by the server"},
      {2, server, "    mime_types: {css: text/css}", "mime_types.css", "not an extension"},
      {2, server, "    access_log: {format: template, template: \"${staus}\"}", "access_log.template", "${status}"},
      {2, server, "    access_log: {format: json, sample: 2}", "access_log.sample", "at most 1"},
      {2, server, kLongTemplate.c_str(), "access_log.template", "is too long: a line has at most 4096 bytes"},
      {2, route, "    - {path: /, echo: {}, access_log: {format: json, output: @/no/dir/log}}",
       "routes[0].access_log.output", "No such file"},
      {2, route, "    - {path: /, echo: {}, access_log: {format: template}}", "routes[0].access_log.format",
       "needs the key template"},
      {2, route, "    - {path: /, echo: {}, access_log: {only: errors}}", "routes[0].access_log.only", "none is set"},
      {2, route, "    - {path: /, echo: {}, error_pages: {404: @/nowhere.html}}", "routes[0].error_pages.404",
       "No such file"},
      {2, route, "    - {path: /, respond: {status: 404, content_type: text/html}}", "respond.content_type",
       "body: \"\" is an empty one"},
      {2, route, "    - {path: /, respond: {body: \"${path}\", content_type: \"\"}}", "respond.content_type",
       "is empty"},
      {2, route, "    - {path: /, respond: {body: \"${path}\", content_type: \" ;charset=utf-8\"}}",
       "respond.content_type", "is empty"},
      {2, route, "    - {path: /, respond: {body: \"${path}\", content_type: html}}", "respond.content_type",
       "not a media type"},
      {2, route, "    - {path: /, respond: {body: \"${path}\", content_type: Unknown/Unknown}}", "respond.content_type",
       "is no type"},
      {2, server, "    basic_auth: {file: @/nowhere}", "basic_auth.file", "No such file"},
      {2, server, "    basic_auth: {file: @/site}", "basic_auth.file", "directory"},
      {2, server, "    basic_auth: {file: @/file}", "basic_auth.file", "line 1"},
      {2, route, "    - {path: /, basic_auth: {file: @/file}, echo: {}}", "routes[0].basic_auth.file", "line 1"},
      {2, server, "    cors: {}", "http.cors", "origins is required"},
      {2, server, "    cors: {origins: [\"https://a.example/\"]}", "cors.origins[0]", "ends without /"},
      {2, server, "    cors: {origins: [\"https://a.example\"], max_age: 1500ms}", "cors.max_age", "whole seconds"},
      {2, server, "    compress: {level: {gzip: 12}}", "compress.level.gzip", "1 … 9"},
      {2, server, "    compress: {codings: [gzip], level: {br: 4}}", "compress.level.br", "not one of codings"},
      {2, server, "    cache_control: {css: no-cache}", "cache_control.css", "not an extension"},
      {2, server, "    request_id: {header: Date}", "request_id.header", "set by the server"},
      {2, server, "    deny: []", "http.deny", "is empty"},
      {2, server, "    headers: {}", "http.headers", "needs one of set, add, remove"},
      {2, server, "    headers: {set: {X-Host: \"${hots}\"}}", "headers.set.X-Host", "${host}"},
      {2, server, "    headers: {set: {X-Host: \"${FIBERD_NO}\"}}", "headers.set.X-Host", "has no FIBERD_NO"},
      {2, server, "    forwarded: xff", "http.forwarded", "x_forwarded_for"},
      {2, server, "    filters: [nobody]", "http.filters[0]", "no filter \"nobody\""},
      {2, route, "    - {path: /, filters: [nobody], echo: {}}", "routes[0].filters[0]", "no filter \"nobody\""},
      {2, route, "    - {path: /, respond: {body: $uri}}", "respond.body", "did you mean ${path}?"},
      {2, route, "    - {path: /*, redirect: {location: \"https://a.example${rest}\"}}", "redirect.location",
       "only ${host} may stand"},
      {2, last, "trusted_proxies: [10.0.0.0/33]", "trusted_proxies[0]", "0 … 32 bits"},
      {2, listener, "  address: \"127.0.0.1:0\"\n  proxy_protocol: v1", "listeners[0].proxy_protocol",
       "needs trusted_proxies"},
      // addresses by numbers that nobody may have, a bad limit beside a missing root: all of it in one run
      {2, route, "    - {path: /*, timeout: never, files: {root: @/nowhere}}", "routes[0].timeout", "not a duration"},
      {2, route, "    - {path: /*, timeout: never, files: {root: @/nowhere}}", "routes[0].files.root", "No such file"},
  };
  return all;
}

void furnish(const TemporaryDirectory& directory) {
  directory.write("site/index.html", "index\n");
  directory.write("file", "a file\n");
  directory.write("big", std::string(65 * 1024, 'x'));
  fs::create_symlink("no/such/file", directory.path() + "/dangling");
  fs::create_symlink(".", directory.path() + "/link");
}

/// All names below it, with their sizes and times.
std::string inventory(const std::string& directory) {
  std::string text;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    text += entry.path().string();
    if (entry.is_regular_file())
      text += " " + std::to_string(entry.file_size()) + " " +
              std::to_string(entry.last_write_time().time_since_epoch().count());
    text += "\n";
  }
  return text;
}

}  // namespace

TEST_CASE("what run refuses check refuses, with the same words, line and exit code", "[integration][check]") {
  const TemporaryDirectory directory;
  furnish(directory);
  CHECK(bad_ones().size() >= 120);
  for (const Bad& bad : bad_ones()) {
    INFO(bad.line);
    const std::string file = directory.write("fiberd.yaml", with_line(bad.where, bad.line, directory.path()));
    const std::string before = inventory(directory.path());
    const Finished checked = run({FIBERD_BINARY, "check", file});
    const Finished ran = run({FIBERD_BINARY, "run", "-c", file});
    INFO(checked.errors << "--- run:\n" << ran.errors);
    CHECK(checked.code == bad.code);
    CHECK(ran.code == checked.code);
    CHECK(ran.errors == checked.errors);
    CHECK(checked.output.empty());
    CHECK(inventory(directory.path()) == before);
    // One of its lines has the place, the key and the reason.
    const int line_number = static_cast<int>(bad.where);
    bool told = false;
    for (std::size_t at = 0; at < checked.errors.size() && !told; at = checked.errors.find('\n', at) + 1) {
      const std::string line = checked.errors.substr(at, checked.errors.find('\n', at) - at);
      told = line.starts_with(file + ":" + std::to_string(line_number)) ||
             (line.starts_with(file + ":" + std::to_string(line_number + 1)) &&
              std::string_view(bad.line).find('\n') != std::string_view::npos);
      told = told && line.find(bad.key) != std::string::npos && line.find(bad.says) != std::string::npos;
    }
    CHECK(told);
  }
}

TEST_CASE("check leaves no trace, and does not ask whether a port is in use", "[integration][check]") {
  const TemporaryDirectory directory;
  furnish(directory);
  Daemon daemon("admin: {address: \"unix:" + directory.path() +
                "/admin\"}\nlisteners: [{name: t, address: \"127.0.0.1:0\", tcp: {echo: {}}}]\n");
  const std::string file = directory.write(
      "fiberd.yaml",
      "admin: {address: \"unix:" + directory.path() + "/admin\"}\nlog: {output: " + directory.path() +
          "/new.log}\nlisteners:\n- {name: t, address: \"127.0.0.1:" + std::to_string(daemon.port("t")) +
          "\", tcp: {echo: {}}}\n" +
          "- {name: w, address: \"127.0.0.1:0\", http: {access_log: {format: json, output: " + directory.path() +
          "/file}, routes: [{path: /*, files: {root: " + directory.path() + "/site}}]}}\n");
  const std::string before = inventory(directory.path());
  const Finished checked = run({FIBERD_BINARY, "check", file});
  CHECK(checked.errors.empty());
  CHECK(checked.code == 0);
  CHECK(inventory(directory.path()) == before);
  CHECK(run({FIBERD_BINARY, "run", "-c", file}).code == 3);
  CHECK(daemon.stop() == 0);
}

namespace {

/// What comes back for "ping" from a TCP listener at this address; empty: nobody is there.
std::string ping(int family, std::uint16_t port) {
  const auto to = fiberd::net::Endpoint::parse((family == AF_INET6 ? "[::1]:" : "127.0.0.1:") + std::to_string(port));
  const int fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::string got;
  char buffer[64];
  if (to && ::connect(fd, to->data(), to->size()) == 0 && ::send(fd, "ping", 4, MSG_NOSIGNAL) == 4 &&
      ::shutdown(fd, SHUT_WR) == 0)
    for (ssize_t n = 0; (n = ::recv(fd, buffer, sizeof buffer, 0)) > 0;)
      got.append(buffer, static_cast<std::size_t>(n));
  ::close(fd);
  return got;
}

bool has_ipv6() {
  const auto any = fiberd::net::Endpoint::parse("[::1]:0");
  const int fd = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool bound = fd >= 0 && any && ::bind(fd, any->data(), any->size()) == 0;
  if (fd >= 0) ::close(fd);
  return bound;
}

/// A port that was free for both families a moment ago.
std::uint16_t port_free_for_both() {
  const Daemon daemon("admin: {address: \"off\"}\nlisteners: [{name: a, address: \"[::]:0\", aggregate: {}}]\n");
  return daemon.port("a");
}

}  // namespace

TEST_CASE("0.0.0.0 and [::] of one port are two listeners, by TCP and by UDP", "[integration][check]") {
  if (!has_ipv6()) return;
  const TemporaryDirectory directory;
  for (const bool six_first : {false, true}) {
    const std::string port = std::to_string(port_free_for_both());
    const std::string four = "- {name: four, address: \"0.0.0.0:" + port + "\", tcp: {echo: {}}}\n";
    const std::string six = "- {name: six, address: \"[::]:" + port + "\", tcp: {discard: {}}}\n";
    const std::string yaml = "admin: {address: \"127.0.0.1:0\"}\nlisteners:\n" + (six_first ? six + four : four + six);
    CHECK(run({FIBERD_BINARY, "check", directory.write("tcp.yaml", yaml)}).code == 0);
    Daemon daemon(yaml);
    CHECK(ping(AF_INET, daemon.port("four")) == "ping");
    CHECK(ping(AF_INET6, daemon.port("six")).empty());
    CHECK(daemon.metric("fiberd_listener_accepted_total{listener=\"four\"}") == 1.0);
    CHECK(daemon.metric("fiberd_listener_accepted_total{listener=\"six\"}") == 1.0);
    CHECK(daemon.stop() == 0);
  }
  {
    const std::string port = std::to_string(port_free_for_both());
    const std::string yaml = "admin: {address: \"127.0.0.1:0\"}\nlisteners:\n- {name: six, address: \"[::]:" + port +
                             "\", aggregate: {flush_interval: 10ms}}\n- {name: four, address: \"0.0.0.0:" + port +
                             "\", aggregate: {flush_interval: 10ms}}\n";
    CHECK(run({FIBERD_BINARY, "check", directory.write("udp.yaml", yaml)}).code == 0);
    Daemon daemon(yaml);
    for (const char* const name : {"four", "six"}) {
      INFO(name);
      const bool ipv6 = std::string_view(name) == "six";
      const auto to = fiberd::net::Endpoint::parse((ipv6 ? "[::1]:" : "127.0.0.1:") + port);
      REQUIRE(to);
      const int fd = ::socket(to->family(), SOCK_DGRAM | SOCK_CLOEXEC, 0);
      CHECK(::sendto(fd, "hits:1|c\n", 9, 0, to->data(), to->size()) == 9);
      ::close(fd);
      CHECK(eventually([&] {
        return daemon.metric("fiberd_aggregate_datagrams_total{listener=\"" + std::string(name) + "\"}") == 1.0;
      }));
    }
    CHECK(daemon.stop() == 0);
  }
  // Alone it takes both.
  const std::string port = std::to_string(port_free_for_both());
  Daemon both("admin: {address: \"127.0.0.1:0\"}\nlisteners: [{name: both, address: \"[::]:" + port +
              "\", tcp: {echo: {}}}]\n");
  CHECK(ping(AF_INET, both.port("both")) == "ping");
  CHECK(ping(AF_INET6, both.port("both")) == "ping");
  CHECK(both.stop() == 0);
}

TEST_CASE("${path} is $path before letters, and a fallback may begin with a slash", "[integration][check]") {
  const TemporaryDirectory directory;
  furnish(directory);
  directory.write("site/about_en.html", "about\n");
  Daemon daemon(
      "admin: {address: \"127.0.0.1:0\"}\nlisteners:\n- {name: web, address: \"127.0.0.1:0\", http: {routes: "
      "[{path: /*, files: {root: " +
      directory.path() + "/site, try_files: [$path, \"${path}_en.html\"], fallback: /index.html}}]}}\n");
  HttpClient client(daemon.port("web"));
  CHECK(client.ask(get("/about"))->body == "about\n");
  CHECK(client.ask(get("/nowhere"))->body == "index\n");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a value that was left empty is the default", "[integration][check]") {
  Daemon daemon(
      "admin: {address: \"127.0.0.1:0\"}\nlisteners:\n- name: web\n  address: \"127.0.0.1:0\"\n  defer_accept:\n"
      "  http:\n    limits: {target_size: }\n    routes:\n"
      "    - {path: /, timeout: , body_size: , echo: {}}\n");
  HttpClient client(daemon.port("web"));
  const auto answer = client.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
  REQUIRE(answer);
  CHECK(answer->status == 200);
  CHECK(answer->body == "hello");
  CHECK(daemon.stop() == 0);
}

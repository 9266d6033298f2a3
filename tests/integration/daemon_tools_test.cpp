// The daemon and programs that are not ours: curl, wrk, h2load, a browser, Prometheus. They come with
// deploy/packages.txt; one that is missing is a failure.
#include <catch2/catch.hpp>
#include <filesystem>
#include <set>
#include <sstream>

#include "tests/support/daemon.hpp"
#include "tests/support/h2_client.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/test_certificates.hpp"
#include "tests/support/tls_client.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

std::string site_for_tools(const std::string& root) {
  return "admin: {address: \"127.0.0.1:0\"}\n"
         "listeners:\n"
         "  - name: web\n"
         "    address: \"127.0.0.1:0\"\n"
         "    http:\n"
         "      limits: {body_size: 8MiB}\n"
         "      routes:\n"
         "        - {path: /hello, respond: {body: hello}}\n"
         "        - {path: /echo, echo: {}}\n"
         "        - {path: /old, redirect: {location: /hello, status: 301}}\n"
         "        - {path: /*, files: {root: \"" +
         root +
         "\"}}\n"
         "  - {name: echo, address: \"127.0.0.1:0\", tcp: {echo: {}}}\n";
}

std::string url(const Daemon& daemon, const std::string& path, std::string_view listener = "web") {
  return "http://127.0.0.1:" + std::to_string(daemon.port(listener)) + path;
}

/// The first number after `label` in a report.
double figure(const std::string& text, std::string_view label) {
  const std::size_t at = text.find(label);
  return at == std::string::npos ? -1 : std::strtod(text.c_str() + at + label.size(), nullptr);
}

}  // namespace

TEST_CASE("curl", "[integration][daemon][tools]") {
  const TemporaryDirectory root;
  root.write("index.html", "<p>index</p>\n");
  Daemon daemon(site_for_tools(root.path()));
  SECTION("two URLs over one connection, a redirect, an index") {
    const Finished got = run({"curl", "-sSv", "-L", url(daemon, "/hello"), url(daemon, "/old"), url(daemon, "/")});
    CHECK(got.code == 0);
    CHECK(got.output == "hellohello<p>index</p>\n");
    CHECK(got.errors.find("Re-using existing connection") != std::string::npos);
    CHECK(daemon.metric("fiberd_listener_accepted_total{listener=\"web\"}") == 1.0);
  }
  SECTION("HEAD") {
    const Finished got = run({"curl", "-sS", "-I", url(daemon, "/")});
    CHECK(got.code == 0);
    CHECK(got.output.starts_with("HTTP/1.1 200 OK\r\n"));
    CHECK(got.output.find("Content-Type: text/html") != std::string::npos);
    CHECK(got.output.find("Content-Length: 13\r\n") != std::string::npos);
  }
  SECTION("bodies: with a length and 100-continue, chunked, too large") {
    const std::string megabytes = root.write("body", std::string(5 << 20, 'x'));
    const std::string out = root.path() + "/out";
    Finished got = run({"curl", "-sSv", "-o", out, "-H", "Expect: 100-continue", "--data-binary", "@" + megabytes,
                        url(daemon, "/echo")});
    CHECK(got.code == 0);
    CHECK(got.errors.find("< HTTP/1.1 100 Continue") != std::string::npos);
    CHECK(read_file(out) == read_file(megabytes));
    got = run({"curl", "-sS", "-o", out, "-H", "Transfer-Encoding: chunked", "-H", "Expect:", "--data-binary",
               "@" + megabytes, url(daemon, "/echo")});
    CHECK(got.code == 0);
    CHECK(read_file(out) == read_file(megabytes));
    const std::string large = root.write("large", std::string(9 << 20, 'x'));
    got = run({"curl", "-sSv", "-o", out, "-w", "%{http_code}", "-H", "Expect: 100-continue", "--data-binary",
               "@" + large, url(daemon, "/echo")});
    CHECK(got.output == "413");
    CHECK(got.errors.find("< HTTP/1.1 100 Continue") == std::string::npos);  // known before the body
  }
  SECTION("HTTP/1.0") {
    const Finished got = run({"curl", "-sS", "-i", "--http1.0", url(daemon, "/hello")});
    CHECK(got.code == 0);
    CHECK(got.output.find("hello") != std::string::npos);
    CHECK(got.output.find("chunked") == std::string::npos);
  }
  SECTION("a plain TCP service") {
    const Finished got =
        run({"bash", "-c",
             "exec 3<>/dev/tcp/127.0.0.1/" + std::to_string(daemon.port("echo")) + "; echo ping >&3; head -n 1 <&3"});
    CHECK(got.output == "ping\n");
  }
}

TEST_CASE("wrk", "[integration][daemon][tools]") {
  const TemporaryDirectory root;
  root.write("page.html", std::string(100'000, 'p'));
  Daemon daemon(site_for_tools(root.path()));
  for (const std::string path : {"/hello", "/page.html"}) {
    const Finished got = run({"wrk", "-t1", "-c32", "-d2s", "--latency", url(daemon, path)});
    INFO(got.output);
    CHECK(got.code == 0);
    CHECK(got.output.find("Socket errors") == std::string::npos);
    CHECK(got.output.find("Non-2xx") == std::string::npos);
    CHECK(figure(got.output, "Requests/sec:") > 100);
  }
}

TEST_CASE("h2load --h1", "[integration][daemon][tools]") {
  Daemon daemon(site_for_tools("/"));
  const Finished got = run({"h2load", "--h1", "-n", "20000", "-c", "16", "-t", "1", url(daemon, "/hello")});
  INFO(got.output);
  CHECK(got.code == 0);
  CHECK(got.output.find("20000 succeeded, 0 failed, 0 errored, 0 timeout") != std::string::npos);
  CHECK(got.output.find("status codes: 20000 2xx") != std::string::npos);
}

TEST_CASE("headless Chromium shows a site", "[integration][daemon][tools]") {
  const TemporaryDirectory root;
  root.write("index.html",
             "<!doctype html><title>t</title><link rel=stylesheet href=style.css><p id=p>before</p>"
             "<script type=module src=main.js></script>");
  root.write("style.css", "#p { color: rgb(1, 2, 3) }");
  root.write("main.js",
             "const r = await fetch('/echo', {method: 'POST', body: 'echoed'});"
             "const p = document.getElementById('p');"
             "p.textContent = await r.text() + ' ' + getComputedStyle(p).color;");
  const TemporaryDirectory profile;
  Daemon daemon(site_for_tools(root.path()));
  const Finished got = run({"chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                            "--disable-background-networking", "--disable-component-update", "--disable-sync",
                            "--disable-quic", "--no-first-run", "--user-data-dir=" + profile.path(),
                            "--virtual-time-budget=10000", "--dump-dom", url(daemon, "/")});
  INFO(got.output);
  CHECK(got.output.find("echoed rgb(1, 2, 3)") != std::string::npos);
  CHECK(daemon.metric("fiberd_bugs_total") == 0.0);
}

TEST_CASE("Prometheus scrapes it; promtool has nothing to say", "[integration][daemon][tools]") {
  const TemporaryDirectory directory;
  Daemon daemon(site_for_tools("/"));
  HttpClient client(daemon.port("web"));
  REQUIRE(client.ask(get("/hello")).has_value());
  const std::string page = directory.write("metrics", daemon.admin("/metrics"));
  const Finished check = run({"bash", "-c", "promtool check metrics < \"$0\"", page});
  INFO(check.errors << check.output);
  CHECK(check.code == 0);
  CHECK((check.errors + check.output).empty());

  const std::string target = "127.0.0.1:" + std::to_string(daemon.port("admin"));
  const std::string config = directory.write(
      "prometheus.yml",
      "global: {scrape_interval: 1s}\nscrape_configs:\n  - job_name: fiberd\n    static_configs: [{targets: [\"" +
          target + "\"]}]\n");
  // Prometheus does not say which port it got: a free one is found for it.
  std::uint16_t port = 0;
  {
    Daemon probe(
        "admin: {address: \"127.0.0.1:0\"}\nlisteners: [{name: t, address: \"127.0.0.1:0\", tcp: {echo: {}}}]\n");
    port = probe.port("t");
  }
  const std::string address = "127.0.0.1:" + std::to_string(port);
  Process prometheus(
      {.arguments = {"prometheus", "--config.file=" + config, "--storage.tsdb.path=" + directory.path() + "/data",
                     "--web.listen-address=" + address}});
  auto query = [&](const std::string& expression) {
    return run({"curl", "-sS", "--max-time", "5", "-G", "http://" + address + "/api/v1/query", "--data-urlencode",
                "query=" + expression})
        .output;
  };
  CHECK(eventually([&] { return query("up{job=\"fiberd\"}").find(",\"1\"]") != std::string::npos; }, 30s));
  INFO(prometheus.errors());
  CHECK(query("fiberd_http_requests_total{listener=\"web\",route=\"/hello\",method=\"GET\",code=\"200\"}")
            .find(",\"1\"]") != std::string::npos);
  CHECK(query("fiberd_bugs_total").find(",\"0\"]") != std::string::npos);
}

TEST_CASE("docs/metrics.md is what a running daemon exports", "[integration][daemon]") {
  std::string config = "trusted_proxies: [127.0.0.1]\n" + site_for_tools("/");
  const std::string_view limits = "      limits: {body_size: 8MiB}\n";
  config.insert(config.find(limits), "      access_log: {format: common, output: /dev/null}\n");
  config += "  - {name: stats, address: \"127.0.0.1:0\", aggregate: {flush: [{statsd: \"127.0.0.1:9\"}]}}\n";
  config +=
      "  - name: limited\n    address: \"127.0.0.1:0\"\n    http:\n"
      "      rate_limit: {rate: 1/m, burst: 1, key: address}\n      concurrency: {limit: 1}\n"
      "      allow: [127.0.0.1]\n"
      "      routes: [{path: /, worker_pool: {workers: 1}, respond: {body: x}}]\n";
  config += "  - {name: behind, address: \"127.0.0.1:0\", proxy_protocol: any, tcp: {echo: {}}}\n";
  const TemporaryDirectory pair;
  const std::string key = pair.write("key.pem", kTestKey);
  std::filesystem::permissions(key, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  config += "  - name: secure\n    address: \"127.0.0.1:0\"\n    tls: {certificate: " +
            pair.write("certificate.pem", kTestCertificate) + ", key: " + key +
            "}\n    http: {routes: [{path: /, websocket: echo}]}\n";
  config += "  - {name: frames, address: \"127.0.0.1:0\", http: {h2c: true, routes: [{path: /, echo: {}}]}}\n";
  Daemon daemon(config);
  HttpClient client(daemon.port("web"));
  REQUIRE(client.ask(get("/hello")).has_value());
  HttpClient limited(daemon.port("limited"));
  REQUIRE(limited.ask(get("/")).has_value());
  REQUIRE(limited.ask(get("/")).has_value());
  // Counters of what may happen are shown once it has: a request that is refused, and one for our own pages.
  HttpClient wrong(daemon.port("web"));
  CHECK(wrong.ask("GET / HTTP/1.1\r\nHost : a\r\n\r\n").value().status == 400);
  // A WebSocket that ends, what was asked for none, and a handshake that is none.
  TlsClient secure(daemon.port("secure"));
  CHECK(secure.ask(get("/")).value_or(Answer{}).status == 426);
  {
    TlsClient socket(daemon.port("secure"));
    CHECK(
        socket.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"));
    CHECK(socket.more());
  }
  HttpClient plain(daemon.port("secure"));
  CHECK(plain.ask(get("/")).value_or(Answer{}).status == 400);
  // A stream that its client resets, one that breaks a rule, and then a connection that does.
  http2::Client frames(daemon.port("frames"));
  CHECK(frames.send(http2::headers(1, http2::post_fields("/"), false) + http2::rst(1, http2::kCancel) +
                    http2::headers(3, http2::get_fields("/", {{"Upper", "case"}}))));
  CHECK(frames.reply(3).reset == http2::kProtocolError);
  CHECK(frames.send(http2::data(0, "x")));
  CHECK(frames.until([&] { return !frames.goaways().empty(); }));
  CHECK(eventually(
      [&] { return daemon.metric("fiberd_websocket_closed_total{listener=\"secure\",code=\"1006\"}") == 1; }));
  CHECK(daemon.admin_status("/metrics") == 200);
  CHECK(eventually([&] {
    return daemon
               .metric("fiberd_admin_requests_total{listener=\"admin\",route=\"/metrics\",method=\"GET\",code=\"200\"}")
               .value_or(0) >= 1;
  }));
  std::set<std::string> documented;
  std::istringstream document(read_file(FIBERD_SOURCE_DIR "/docs/metrics.md"));
  for (std::string line; std::getline(document, line);)
    if (line.starts_with("| `")) documented.insert(line.substr(3, line.find('`', 3) - 3));
  std::set<std::string> exported;
  std::set<std::string> helped;
  std::set<std::string> sampled;
  std::istringstream page(daemon.admin("/metrics"));
  for (std::string line; std::getline(page, line);) {
    std::istringstream words(line);
    std::string hash;
    std::string kind;
    std::string name;
    words >> hash >> kind >> name;
    if (line.starts_with("# TYPE ")) exported.insert(name);
    if (line.starts_with("# HELP ")) helped.insert(name);
    if (!line.starts_with("#")) sampled.insert(line.substr(0, line.find_first_of("{ ")));
  }
  CHECK(documented.size() > 40);
  CHECK(exported == documented);
  CHECK(helped == documented);
  for (const std::string& name : documented) {
    INFO(name);
    // Their labels name the family that ran over, and the error that a spawn was refused with.
    if (name == "fiberd_metric_series_refused_total" || name == "fiberd_fibers_refused_total") continue;
    CHECK((sampled.contains(name) || sampled.contains(name + "_count")));
  }
}

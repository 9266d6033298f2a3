// Tracing as a process: what a collector gets of the requests that were sent, and what becomes of requests when it does
// not get it.
#include <signal.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "tests/support/collector.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

constexpr const char* kTrace = "0af7651916cd43dd8448eb211c80319c";
constexpr const char* kCaller = "b7ad6b7169203331";

std::string parent(bool sampled) {
  return "traceparent: 00-" + std::string(kTrace) + "-" + kCaller + (sampled ? "-01" : "-00") + "\r\n";
}

std::string config(const std::string& endpoint, const std::string& more, const std::string& http = "") {
  return "admin: {address: \"127.0.0.1:0\"}\n"
         "tracing: {endpoint: \"" +
         endpoint + "\", batch: {delay: 20ms}" + more +
         "}\n"
         "listeners:\n"
         "  - name: web\n"
         "    address: \"127.0.0.1:0\"\n"
         "    http:\n" +
         http +
         "      routes:\n"
         "        - {path: /, respond: {body: hello}}\n";
}

std::string handlers(const std::string& endpoint, const std::string& more) {
  return config(endpoint, more) +
         "        - {path: /ask, handler: ask}\n"
         "        - {path: /fails, handler: fails}\n"
         "        - {path: /slow, handler: slow}\n";
}

std::int64_t unix_now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

unsigned ask(const Daemon& daemon, std::string_view path, std::string_view fields = {}) {
  HttpClient client(daemon.port("web"));
  const auto answer = client.ask(get(path, fields));
  return answer ? answer->status : 0;
}

/// What stands behind `name` in a request's head.
std::string field(const std::string& head, const std::string& name) {
  const std::size_t at = head.find("\r\n" + name + ": ");
  if (at == std::string::npos) return {};
  const std::size_t begin = at + name.size() + 4;
  return head.substr(begin, head.find("\r\n", begin) - begin);
}

const CollectedSpan* find(const std::vector<CollectedSpan>& spans, const std::string& name) {
  for (const CollectedSpan& s : spans)
    if (s.name == name) return &s;
  return nullptr;
}

double dropped(const Daemon& daemon, const std::string& reason) {
  return daemon.metric("fiberd_tracing_spans_dropped_total{reason=\"" + reason + "\"}").value_or(-1);
}

double exports(const Daemon& daemon, const std::string& result) {
  return daemon.metric("fiberd_tracing_exports_total{result=\"" + result + "\"}").value_or(-1);
}

std::string answer(const std::string& status, const std::string& fields, const std::string& body) {
  return "HTTP/1.1 " + status + "\r\n" + fields + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

}  // namespace

TEST_CASE("a collector gets the spans of a request and of what it asked, with their parents, times and ids",
          "[integration][tracing]") {
  std::mutex mutex;
  std::string asked;
  HostileUpstream upstream({[&](UpstreamPeer& peer) {
    while (const auto head = peer.read_request()) {
      {
        const std::lock_guard guard(mutex);
        asked = *head;
      }
      if (!peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntext")) return;
    }
  }});
  Collector collector;
  Daemon daemon(
      handlers(collector.url(), ", sample: {ratio: 0}, service_name: shop, resource: {deployment.environment: test}"),
      {.environment = {{"UPSTREAM", upstream.url("/things?key=secret")}}, .program = FIBERD_TRACED});
  const std::int64_t before = unix_now();
  REQUIRE(ask(daemon, "/ask", parent(true) + "tracestate: foo=1,bar=2\r\nUser-Agent: \"tester\"\r\n") == 200);
  const std::int64_t after = unix_now();
  REQUIRE(eventually([&] { return collector.spans().size() >= 4; }));
  const std::vector<CollectedSpan> spans = collector.spans();
  CHECK(collector.errors().empty());
  REQUIRE(spans.size() == 4);
  const CollectedSpan* const request = find(spans, "GET /ask");
  const CollectedSpan* const handler = find(spans, "handler /ask");
  const CollectedSpan* const look_up = find(spans, "look up");
  const CollectedSpan* const client = find(spans, "GET");
  REQUIRE((request != nullptr && handler != nullptr && look_up != nullptr && client != nullptr));

  std::set<std::string> ids;
  for (const CollectedSpan& s : spans) {
    CHECK(s.trace_id == kTrace);
    CHECK(s.state == "foo=1,bar=2");
    ids.insert(s.span_id);
    CHECK(s.resource.at("service.name") == "shop");
    CHECK(s.resource.at("deployment.environment") == "test");
    CHECK(s.resource.at("process.pid") == std::to_string(daemon.process().pid()));
  }
  CHECK(ids.size() == 4);
  CHECK(request->parent_id == kCaller);
  CHECK(handler->parent_id == request->span_id);
  CHECK(look_up->parent_id == handler->span_id);
  CHECK(client->parent_id == look_up->span_id);
  CHECK(request->kind == 2);
  CHECK(handler->kind == 1);
  CHECK(client->kind == 3);
  CHECK((request->flags & 0x301) == 0x301);
  CHECK((handler->flags & 0x300) == 0x100);
  // The clock on the wall may be set, but not by much in a test.
  static constexpr std::int64_t kSlack = 50'000'000;
  CHECK(request->begin >= before - kSlack);
  CHECK(request->end <= after + kSlack);
  const auto within = [](const CollectedSpan& inner, const CollectedSpan& outer) {
    return outer.begin <= inner.begin && inner.begin <= inner.end && inner.end <= outer.end;
  };
  CHECK(within(*handler, *request));
  CHECK(within(*look_up, *handler));
  CHECK(within(*client, *look_up));

  CHECK(request->attributes.at("http.request.method") == "GET");
  CHECK(request->attributes.at("http.route") == "/ask");
  CHECK(request->attributes.at("url.path") == "/ask");
  CHECK(request->attributes.at("http.response.status_code") == "200");
  CHECK(request->attributes.at("user_agent.original") == "\"tester\"");
  CHECK(request->attributes.at("client.address") == "127.0.0.1");
  CHECK(look_up->attributes.at("lookup.size") == "3");
  CHECK(client->attributes.at("url.full") == upstream.url("/things"));  // without its query
  CHECK(client->attributes.at("http.response.status_code") == "200");
  CHECK(client->attributes.at("server.address") == "127.0.0.1");

  const std::lock_guard guard(mutex);
  CHECK(field(asked, "traceparent") == "00-" + std::string(kTrace) + "-" + client->span_id + "-01");
  CHECK(field(asked, "tracestate") == "foo=1,bar=2");
  const std::vector<std::string> heads = collector.heads();
  CHECK(field(heads.at(0), "Content-Type") == "application/json");
  CHECK(field(heads.at(0), "traceparent").empty());
  // The collector has them before the daemon has heard so.
  CHECK(eventually([&] { return daemon.metric("fiberd_tracing_spans_exported_total").value_or(0) == 4; }));
  CHECK(daemon.metric("fiberd_tracing_traces_total{reason=\"parent\"}").value_or(0) == 1);
  CHECK(eventually([&] { return daemon.metric("fiberd_tracing_queue_bytes").value_or(-1) == 0; }));
}

TEST_CASE("requests that fail are kept though they were not sampled, with all that they did, others are not",
          "[integration][tracing]") {
  HostileUpstream upstream({[](UpstreamPeer& peer) {
    (void)peer.read_request();
    peer.reset();
  }});
  Collector collector;
  Daemon daemon(handlers(collector.url(), ", sample: {ratio: 0}"),
                {.environment = {{"UPSTREAM", upstream.url()}}, .program = FIBERD_TRACED});
  CHECK(ask(daemon, "/") == 200);
  CHECK(ask(daemon, "/none") == 404);
  CHECK(ask(daemon, "/", parent(false)) == 200);
  CHECK(ask(daemon, "/slow") == 200);
  CHECK(ask(daemon, "/fails") == 500);
  CHECK(ask(daemon, "/ask") == 502);
  REQUIRE(eventually([&] { return collector.spans().size() >= 6; }));
  const std::vector<CollectedSpan> spans = collector.spans();
  REQUIRE(find(spans, "GET /fails") != nullptr);
  CHECK(find(spans, "GET /fails")->status == 2);
  CHECK(find(spans, "GET /fails")->attributes.at("error.type") == "500");
  // All that it did, too.
  REQUIRE(find(spans, "GET /ask") != nullptr);
  REQUIRE(find(spans, "look up") != nullptr);
  REQUIRE(find(spans, "GET") != nullptr);
  CHECK(find(spans, "look up")->status == 2);
  CHECK(find(spans, "GET")->status == 2);
  CHECK(find(spans, "GET")->trace_id == find(spans, "GET /ask")->trace_id);
  CHECK(find(spans, "GET /") == nullptr);
  CHECK(collector.errors().empty());
  CHECK(spans.size() == 6);
  CHECK(daemon.metric("fiberd_tracing_traces_total{reason=\"error\"}").value_or(0) == 2);
  CHECK(daemon.metric("fiberd_tracing_traces_total{reason=\"slow\"}").value_or(0) == 0);
}

TEST_CASE("requests that are slow are kept though they were not sampled, quick ones are not",
          "[integration][tracing]") {
  Collector collector;
  Daemon daemon(handlers(collector.url(), ", sample: {ratio: 0, slow: 200ms}"), {.program = FIBERD_TRACED});
  CHECK(ask(daemon, "/slow") == 200);  // 300 ms at least
  REQUIRE(eventually([&] { return collector.spans().size() >= 2; }));
  REQUIRE(!collector.named("GET /slow").empty());
  CHECK(collector.named("GET /slow")[0].status == 0);
  CHECK(collector.named("GET /slow")[0].end - collector.named("GET /slow")[0].begin >= 300'000'000);
  // On a machine that stands still now and then any request may be slow; how long one took its client knows at most.
  unsigned quick = 0;
  unsigned others = 0;
  while (quick < 3 && others < 200) {
    const auto begin = std::chrono::steady_clock::now();
    CHECK(ask(daemon, "/") == 200);
    CHECK(ask(daemon, "/none") == 404);
    CHECK(ask(daemon, "/", parent(false)) == 200);
    ++(std::chrono::steady_clock::now() - begin < 200ms ? quick : others);
  }
  REQUIRE(quick == 3);
  // What was kept has come before this one, if anything was.
  CHECK(ask(daemon, "/slow") == 200);
  REQUIRE(eventually([&] { return collector.named("GET /slow").size() == 2; }));
  CHECK(collector.errors().empty());
  for (const CollectedSpan& s : collector.spans())
    if (s.kind == 2) CHECK(s.end - s.begin >= 200'000'000);
  CHECK(daemon.metric("fiberd_tracing_traces_total{reason=\"slow\"}").value_or(0) <= 2 + 3 * others);
  CHECK(daemon.metric("fiberd_tracing_traces_total{reason=\"error\"}").value_or(0) == 0);
}

TEST_CASE("a bad traceparent begins a trace of its own", "[integration][tracing]") {
  Collector collector;
  Daemon daemon(config(collector.url(), ", sample: {ratio: 1}"));
  CHECK(ask(daemon, "/", "traceparent: 00-" + std::string(kTrace) + "-" + kCaller + "-1\r\n") == 200);
  CHECK(ask(daemon, "/", parent(true) + parent(true)) == 200);
  CHECK(ask(daemon, "/", "tracestate: foo=1\r\n") == 200);
  REQUIRE(eventually([&] { return collector.named("GET /").size() >= 3; }));
  std::set<std::string> traces;
  for (const CollectedSpan& s : collector.named("GET /")) {
    CHECK(s.trace_id != kTrace);
    CHECK(s.parent_id.empty());
    CHECK(s.state.empty());
    traces.insert(s.trace_id);
  }
  CHECK(traces.size() == 3);
  CHECK(daemon.metric("fiberd_tracing_invalid_contexts_total").value_or(0) == 2);
}

TEST_CASE("a batch is tried again when the collector says later, as long as it asks for", "[integration][tracing]") {
  Collector collector({answer("503 Service Unavailable", "Retry-After: 0\r\n", ""),
                       answer("429 Too Many Requests", "Retry-After: Thu, 01 Jan 1970 00:00:00 GMT\r\n", ""),
                       std::string(Collector::kTaken)});
  Daemon daemon(config(collector.url(), ", sample: {ratio: 1}"));
  CHECK(ask(daemon, "/") == 200);
  REQUIRE(eventually([&] { return collector.named("GET /").size() == 1; }, 30s));
  CHECK(collector.posts() == 3);
  CHECK(exports(daemon, "later") == 2);
  CHECK(eventually([&] { return exports(daemon, "ok") == 1; }));
  CHECK(daemon.wait_for_log("answered 503"));
  CHECK(daemon.log().find("answered 429") == std::string::npos);  // once a minute
}

TEST_CASE("what a collector rejects, or says in no way that is understood, is counted", "[integration][tracing]") {
  Collector collector(
      {answer("200 OK", "", R"({"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old\n\u001b[31m"}})"),
       answer("200 OK", "", "<html>"), answer("200 OK", "", R"({"partialSuccess":{"rejectedSpans":-1}})"),
       answer("400 Bad Request", "", ""), answer("200 OK", "", "")});
  Daemon daemon(config(collector.url(), ", sample: {ratio: 1}"));
  for (unsigned i = 1; i <= 5; ++i) {
    CHECK(ask(daemon, "/") == 200);
    REQUIRE(eventually([&] {
      return exports(daemon, "ok") + exports(daemon, "partial") + exports(daemon, "garbled") +
                 exports(daemon, "rejected") ==
             i;
    }));
  }
  CHECK(exports(daemon, "partial") == 1);
  CHECK(exports(daemon, "garbled") == 2);
  CHECK(exports(daemon, "rejected") == 1);
  CHECK(exports(daemon, "ok") == 1);
  CHECK(dropped(daemon, "rejected") == 3);  // one, and the two of the 400
  CHECK(daemon.metric("fiberd_tracing_spans_exported_total").value_or(0) == 7);
  REQUIRE(daemon.wait_for_log("too old"));
  CHECK(daemon.log().find("\x1b[31m") == std::string::npos);
}

TEST_CASE("what a collector says against spans is told, also soon after it was not there", "[integration][tracing]") {
  Collector collector({answer("503 Service Unavailable", "Retry-After: 0\r\n", ""),
                       answer("400 Bad Request", "", "no such tenant\n\x1b[31m"), std::string(Collector::kTaken)});
  Daemon daemon(config(collector.url(), ", sample: {ratio: 1}"));
  CHECK(ask(daemon, "/") == 200);
  REQUIRE(eventually([&] { return exports(daemon, "rejected") == 1; }, 30s));
  CHECK(daemon.wait_for_log("answered 503"));
  CHECK(daemon.wait_for_log("answered 400: \"no such tenant\\x0a\\x1b[31m\""));
  CHECK(dropped(daemon, "rejected") == 2);
}

TEST_CASE("without a collector requests are answered, memory is bounded, and the log says it once",
          "[integration][tracing]") {
  std::string url;
  {
    const Collector other;
    url = other.url();
  }
  Daemon daemon(config(url, ", queue: 64KiB, sample: {ratio: 1, per_second: 0}"));
  HttpClient client(daemon.port("web"));
  for (int i = 0; i != 500; ++i) REQUIRE(client.ask(get("/"))->status == 200);
  CHECK(daemon.metric("fiberd_tracing_queue_bytes").value_or(1e9) <= 65'536);
  CHECK(dropped(daemon, "queue") > 300);
  REQUIRE(eventually([&] { return exports(daemon, "failed") >= 2; }, 20s));
  REQUIRE(daemon.wait_for_log("tracing: http://127.0.0.1:"));
  const std::string log = daemon.log();
  const std::size_t first = log.find("tracing: http");
  CHECK(log.find("tracing: http", first + 1) == std::string::npos);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a collector that never answers holds up neither requests nor the stop", "[integration][tracing]") {
  Collector collector({std::string(Collector::kNever)});
  Daemon daemon(config(collector.url(), ", timeout: 300ms, sample: {ratio: 1}") + "shutdown: {timeout: 20s}\n");
  CHECK(ask(daemon, "/") == 200);
  REQUIRE(eventually([&] { return collector.posts() >= 1; }));
  REQUIRE(eventually([&] { return exports(daemon, "failed") >= 1; }));
  CHECK(ask(daemon, "/") == 200);
  const auto begin = std::chrono::steady_clock::now();
  CHECK(daemon.stop() == 0);
  // tracing.timeout bounds it; shutdown.timeout, which would, too, is far away.
  CHECK(std::chrono::steady_clock::now() - begin < 15s);
}

TEST_CASE("what waits at a stop is sent before the end", "[integration][tracing]") {
  Collector collector;
  std::string yaml = config(collector.url(), ", sample: {ratio: 1}");
  yaml.replace(yaml.find("delay: 20ms"), 11, "delay: 60s");
  Daemon daemon(yaml);
  CHECK(ask(daemon, "/") == 200);
  CHECK(collector.posts() == 0);
  CHECK(daemon.stop() == 0);
  CHECK(collector.named("GET /").size() == 1);
}

TEST_CASE("a reload turns tracing off and on, and to another collector", "[integration][tracing]") {
  Collector first;
  Collector second;
  Daemon daemon(config(first.url(), ", sample: {ratio: 1}"));
  const auto reload = [&](const std::string& yaml, double times) {
    daemon.write_config(yaml);
    daemon.process().signal(SIGHUP);
    return eventually(
        [&] { return daemon.metric("fiberd_config_reloads_total{result=\"success\"}").value_or(0) >= times; });
  };
  CHECK(ask(daemon, "/") == 200);
  REQUIRE(eventually([&] { return first.named("GET /").size() == 1; }));
  std::string off = config(first.url(), "");
  off.erase(off.find("tracing:"), off.find("listeners:") - off.find("tracing:"));
  REQUIRE(reload(off, 1));
  CHECK(ask(daemon, "/") == 200);
  REQUIRE(reload(config(second.url(), ", sample: {ratio: 1}"), 2));
  CHECK(ask(daemon, "/") == 200);
  REQUIRE(eventually([&] { return second.named("GET /").size() == 1; }));
  CHECK(first.named("GET /").size() == 1);
}

TEST_CASE("what ends behind a reload that turned tracing off does not stay", "[integration][tracing]") {
  std::mutex mutex;
  std::condition_variable changed;
  bool asked = false;
  bool may_answer = false;
  HostileUpstream upstream({[&](UpstreamPeer& peer) {
    if (!peer.read_request()) return;
    std::unique_lock lock(mutex);
    asked = true;
    changed.notify_all();
    changed.wait_for(lock, 60s, [&] { return may_answer; });
    (void)peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntext");
  }});
  Collector collector;
  const std::string on = handlers(collector.url(), ", sample: {ratio: 1}");
  Daemon daemon(on, {.environment = {{"UPSTREAM", upstream.url()}}, .program = FIBERD_TRACED});
  HttpClient client(daemon.port("web"));
  client.send(get("/ask"));
  {
    std::unique_lock lock(mutex);
    REQUIRE(changed.wait_for(lock, 60s, [&] { return asked; }));
  }
  std::string off = on;
  off.erase(off.find("tracing:"), off.find("listeners:") - off.find("tracing:"));
  daemon.write_config(off);
  daemon.process().signal(SIGHUP);
  REQUIRE(
      eventually([&] { return daemon.metric("fiberd_config_reloads_total{result=\"success\"}").value_or(0) >= 1; }));
  // Who sends is gone then.
  REQUIRE(eventually([&] {
    const std::string fibers = daemon.admin("/debug/fibers");
    return !fibers.empty() && fibers.find("tracing") == std::string::npos;
  }));
  {
    const std::lock_guard guard(mutex);
    may_answer = true;
    changed.notify_all();
  }
  const auto answered = client.receive();
  REQUIRE(answered);
  CHECK(answered->status == 200);
  // Both of the request's, its client's and "look up".
  CHECK(eventually([&] {
    return dropped(daemon, "queue") + dropped(daemon, "stopped") +
               daemon.metric("fiberd_tracing_spans_exported_total").value_or(0) ==
           4;
  }));
  CHECK(daemon.metric("fiberd_tracing_queue_bytes").value_or(-1) == 0);
  // And on again, in the same process.
  daemon.write_config(on);
  daemon.process().signal(SIGHUP);
  REQUIRE(
      eventually([&] { return daemon.metric("fiberd_config_reloads_total{result=\"success\"}").value_or(0) >= 2; }));
  CHECK(ask(daemon, "/slow") == 200);
  CHECK(eventually([&] { return collector.named("GET /slow").size() == 1; }));
}

TEST_CASE("the collector's secrets come from a file, and are told nobody", "[integration][tracing]") {
  TemporaryDirectory directory;
  const std::string file =
      directory.write("headers", "# for the collector\nAuthorization: Bearer s3cret-of-ours\n\nX-Org: 7\n");
  Collector collector;
  Daemon daemon(config(collector.url(), ", headers_file: " + file + ", sample: {ratio: 1}"));
  CHECK(ask(daemon, "/") == 200);
  REQUIRE(eventually([&] { return !collector.heads().empty(); }));
  CHECK(field(collector.heads().at(0), "Authorization") == "Bearer s3cret-of-ours");
  CHECK(field(collector.heads().at(0), "X-Org") == "7");
  CHECK(daemon.log().find("s3cret") == std::string::npos);
  directory.write("headers", "Authorization Bearer s3cret-of-ours\n");
  const Finished checked = run({FIBERD_BINARY, "check", daemon.config_file()});
  CHECK(checked.code == 2);
  CHECK((checked.output + checked.errors).find("headers:1: is no field") != std::string::npos);
  CHECK((checked.output + checked.errors).find("s3cret") == std::string::npos);
}

TEST_CASE("access logs and errors name the trace, the span and the request", "[integration][tracing]") {
  Collector collector;
  TemporaryDirectory directory;
  const std::string json = directory.path() + "/json.log";
  const std::string text = directory.path() + "/text.log";
  const std::string yaml =
      config(collector.url(), ", sample: {ratio: 1}",
             "      access_log: {format: json, output: " + json +
                 "}\n"
                 "      request_id: {accept: true}\n") +
      "        - {path: /text, respond: {body: text}, access_log: {format: template, output: " + text +
      ", template: \"${status} ${trace_id} ${span_id} ${request_id}\"}}\n";
  Daemon daemon(yaml);
  HttpClient client(daemon.port("web"));
  CHECK(client.ask(get("/", parent(true)))->status == 200);
  CHECK(client.ask(get("/text", parent(true)))->status == 200);
  const auto problem = client.ask(get("/none", parent(true) + "Accept: application/problem+json\r\n"));
  const auto plain = client.ask(get("/none", parent(true)));
  const auto html = client.ask(get("/none", parent(true) + "Accept: text/html\r\n"));
  REQUIRE((problem && plain && html));
  REQUIRE(eventually([&] { return collector.named("GET /text").size() == 1 && collector.named("GET /").size() == 1; }));
  const std::string span = collector.named("GET /").at(0).span_id;
  REQUIRE(eventually([&] {
    return read_file(json).find("\"trace_id\":\"" + std::string(kTrace) + "\",\"span_id\":\"" + span + "\"") !=
           std::string::npos;
  }));
  const std::string text_span = collector.named("GET /text").at(0).span_id;
  REQUIRE(eventually([&] { return read_file(text).find("200 " + std::string(kTrace) + " " + text_span + " ") == 0; }));
  const std::string id = field("\r\n" + problem->head, "X-Request-Id");
  REQUIRE(id.size() == 32);
  CHECK(problem->body.find("\"trace_id\":\"" + std::string(kTrace) + "\"") != std::string::npos);
  CHECK(problem->body.find("\"request_id\":\"" + id + "\"") != std::string::npos);
  CHECK(plain->body.find("trace " + std::string(kTrace)) != std::string::npos);
  CHECK(plain->body.find("request " + field("\r\n" + plain->head, "X-Request-Id")) != std::string::npos);
  CHECK(html->body.find(kTrace) != std::string::npos);
}

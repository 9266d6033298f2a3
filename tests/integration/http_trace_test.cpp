// What handlers and filters see of a request's trace, and what a server leaves in the queue; the collector's side is
// daemon_tracing_test.cpp.
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "core/context/value.hpp"
#include "core/http/client/client.hpp"
#include "core/http/filter.hpp"
#include "core/trace/span.hpp"
#include "core/trace/tracer.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/sent_spans.hpp"

using namespace fiberd;
using namespace fiberd::test;

namespace {

constexpr const char* kParent = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n";

struct Traced {
  explicit Traced(trace::TracerOptions options)
      : queue(std::make_shared<trace::SpanQueue>(1 << 20)),
        tracer(std::make_shared<const trace::Tracer>(options, queue)) {}
  [[nodiscard]] http::ServerOptions options() const {
    http::ServerOptions made;
    made.tracer = tracer;
    return made;
  }
  std::vector<std::string> sent() { return sent_spans(*queue); }
  std::shared_ptr<trace::SpanQueue> queue;
  std::shared_ptr<const trace::Tracer> tracer;
};

std::string text_of(const trace::SpanContext& ids) {
  return std::string(trace::IdText(ids.trace_id).text()) + " " + std::string(trace::IdText(ids.span_id).text());
}

}  // namespace

TEST_CASE("handlers and filters see the request's ids, and contexts carry them", "[integration][http][trace]") {
  Traced traced({.ratio = 0, .errors = false});
  std::string in_filter;
  std::string in_handler;
  trace::SpanContext of_context;
  trace::SpanContext of_client;
  trace::SpanContext with;
  const auto filter = http::make_filter([&](http::Exchange& ex, http::Next next) {
    in_filter = text_of(ex.trace_ids());
    return next(ex);
  });
  HttpServer server({route("/", handler([&](http::Exchange& ex) {
                             in_handler = text_of(ex.trace_ids());
                             of_context = trace::current(ex.context());
                             of_client = trace::current(ex.client_context());
                             with = trace::current(ex.with_trace(ex.client_context()));
                             return ex.respond(200, "text/plain", "x");
                           }),
                           {filter})},
                    traced.options());
  HttpClient client(server.port());
  REQUIRE(client.ask(get("/", kParent))->status == 200);
  CHECK(in_handler.starts_with("0af7651916cd43dd8448eb211c80319c "));
  CHECK(in_filter == in_handler);
  CHECK(of_context.trace_id == trace::TraceId{0x0af7651916cd43dd, 0x8448eb211c80319c});
  CHECK(of_context.span_id.valid());
  CHECK_FALSE(of_context.sampled);
  CHECK_FALSE(of_client.valid());
  CHECK(with == of_context);
  CHECK(traced.sent().empty());
}

TEST_CASE("without a tracer there are no ids", "[integration][http][trace]") {
  bool valid = true;
  HttpServer server({route("/", handler([&](http::Exchange& ex) {
                             valid = ex.trace_ids().valid() || trace::current(ex.context()).valid();
                             return ex.respond(200, "text/plain", "x");
                           }))});
  HttpClient client(server.port());
  REQUIRE(client.ask(get("/", kParent))->status == 200);
  CHECK_FALSE(valid);
}

TEST_CASE("a client's call that is kept for the next one keeps no context of a request without a trace",
          "[integration][http][trace]") {
  static const context::Key<std::shared_ptr<int>> kKey("value");
  std::uint16_t port = 0;
  std::weak_ptr<int> left;
  bool answered = false;
  HttpServer server({route("/inner", hello()),
                     route("/", handler([&](http::Exchange& ex) {
                             http::Client asks;
                             {
                               auto value = std::make_shared<int>(1);
                               left = value;
                               const context::Context ctx = context::with_value(ex.context(), kKey, std::move(value));
                               auto answer = asks.get(ctx, "http://127.0.0.1:" + std::to_string(port) + "/inner");
                               answered = answer && answer->read_all(ctx, 100);
                             }
                             const std::string kept = eventually([&] { return left.expired(); }) ? "none" : "kept";
                             asks.close();
                             return ex.respond(200, "text/plain", kept);
                           }))});
  port = server.port();
  HttpClient client(server.port());
  CHECK(client.ask(get("/"))->body == "none");
  CHECK(answered);
}

TEST_CASE("requests without a route, refused ones and those of a pipeline have their spans, too",
          "[integration][http][trace]") {
  Traced traced({.ratio = 1, .per_second = 0});
  HttpServer server({route("/", hello())}, traced.options());
  {
    HttpClient client(server.port());
    CHECK(client.ask(get("/none"))->status == 404);
    CHECK(client.ask("BREW / HTTP/1.1\r\nHost: a\r\n\r\n")->status == 501);
  }
  HttpClient client(server.port());
  REQUIRE(client.send(get("/") + get("/") + get("/")));
  for (int i = 0; i != 3; ++i) REQUIRE(client.receive()->status == 200);
  (void)server.stop(std::chrono::seconds(5));
  const std::vector<std::string> spans = traced.sent();
  CHECK(spans.size() == 2 + 3 * 2);
  std::string all;
  for (const std::string& s : spans) all += s + "\n";
  CHECK(all.find("\"name\":\"GET\"") != std::string::npos);
  CHECK(all.find("{\"key\":\"http.request.method\",\"value\":{\"stringValue\":\"_OTHER\"}}") != std::string::npos);
  CHECK(all.find("{\"key\":\"fiberd.refused\",\"value\":{\"stringValue\":\"unknown_method\"}}") != std::string::npos);
}

TEST_CASE("what a handler forwards of its caller's trace is replaced by what it is in itself",
          "[integration][http][trace]") {
  Traced traced({.ratio = 0});
  std::string asked;
  std::string bare;
  std::uint16_t port = 0;
  http::Client client_of_handler;
  const auto forward = handler([&](http::Exchange& ex) -> Result<void> {
    const http::Field fields[] = {{"traceparent", ex.request().headers.find("traceparent")}, {"TraceState", "x=1"}};
    const std::string url = "http://127.0.0.1:" + std::to_string(port) + "/asked";
    for (const bool own : {true, false}) {
      auto answer = client_of_handler.send(own ? ex.context() : ex.client_context(), {.url = url, .fields = fields});
      if (!answer) return fail(answer.error());
      auto text = answer->read_all(ex.context(), 1024);
      if (!text) return fail(text.error());
      (own ? asked : bare) = *text;
    }
    return ex.respond(200, "text/plain", "x");
  });
  const auto tell = handler([](http::Exchange& ex) {
    std::string all;
    for (std::size_t i = 0; i != ex.request().headers.size(); ++i)
      all += std::string(ex.request().headers[i].name) + ": " + std::string(ex.request().headers[i].value) + "\n";
    return ex.respond(200, "text/plain", all);
  });
  HttpServer server({route("/", forward), route("/asked", tell)}, traced.options());
  port = server.port();
  HttpClient client(server.port());
  REQUIRE(client.ask(get("/", kParent))->status == 200);
  INFO(asked << bare);
  CHECK(asked.find("traceparent: 00-0af7651916cd43dd8448eb211c80319c-") != std::string::npos);
  CHECK(asked.find("b7ad6b7169203331") == std::string::npos);
  CHECK(asked.find("x=1") == std::string::npos);
  // Under a context without a trace they are fields like others.
  CHECK(bare.find("b7ad6b7169203331") != std::string::npos);
  CHECK(bare.find("TraceState: x=1") != std::string::npos);
  server.runtime().run([&] { client_of_handler.close(); });
}

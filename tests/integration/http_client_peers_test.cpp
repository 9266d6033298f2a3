// The client against servers that others have written: nginx, Go's net/http, Python's http.server. A server that is not
// installed is said so and left out.
#include <signal.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/sync/wait_group.hpp"
#include "tests/support/client_fixture.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/free_port.hpp"
#include "tests/support/hostile_upstream.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;
using http::client_errc;

namespace {

bool installed(const std::string& program) { return run({"sh", "-c", "command -v " + program}).code == 0; }

bool listens(std::uint16_t port, Process& process) {
  for (int i = 0; i < 12'000 && process.running(); ++i) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const net::Endpoint at = net::Endpoint::v4(0x7f000001, port);
    const bool there = ::connect(fd, at.data(), at.size()) == 0;
    ::close(fd);
    if (there) return true;
    std::this_thread::sleep_for(5ms);
  }
  return false;
}

std::string megabytes(std::size_t n) {
  std::string out(n << 20U, 'x');
  for (std::size_t i = 0; i < out.size(); i += 4'093) out[i] = static_cast<char>('a' + i % 26);
  return out;
}

struct Case {
  std::string name;
  http::ClientRequest request;
  unsigned status = 200;
  std::optional<std::string> body{};
};

void run_cases(ClientFixture& rig, const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    INFO(c.name);
    const Fetched got = rig.fetch(c.request);
    CHECK(got.error == std::error_code());
    CHECK(got.status == c.status);
    if (c.body) CHECK((got.body == *c.body));
  }
}

class Source final : public http::BodySource {
 public:
  explicit Source(std::string_view all) : all_(all) {}
  Result<std::string_view> read(const context::Context& /*ctx*/) override {
    const std::string_view piece = all_.substr(at_, 50'001);
    at_ += piece.size();
    return piece;
  }
  bool rewind() override {
    at_ = 0;
    return true;
  }

 private:
  const std::string_view all_;
  std::size_t at_ = 0;
};

}  // namespace

TEST_CASE("client and nginx", "[integration][client][tools]") {
  if (!installed("nginx")) {
    WARN("nginx is not installed: left out");
    return;
  }
  TemporaryDirectory directory;
  const std::string large = megabytes(3);
  directory.write("large", large);
  directory.write("small", "small\n");
  directory.write("page.shtml", "before <!--#echo var=\"REQUEST_METHOD\" --> after\n");
  const std::uint16_t port = free_port();
  const std::string conf = directory.write(
      "nginx.conf",
      "daemon off; master_process off; worker_processes 1; pid " + directory.path() +
          "/pid; error_log stderr;\n"
          "events { worker_connections 256; }\n"
          "http { access_log off; client_body_temp_path " +
          directory.path() + "/b; proxy_temp_path " + directory.path() + "/p; fastcgi_temp_path " + directory.path() +
          "/f; uwsgi_temp_path " + directory.path() + "/u; scgi_temp_path " + directory.path() +
          "/s; default_type text/plain;\n"
          "  keepalive_requests 100000; client_max_body_size 2m; if_modified_since before;\n"
          "  server { listen 127.0.0.1:" +
          std::to_string(port) + "; listen unix:" + directory.path() + "/socket; root " + directory.path() +
          ";\n"
          "    location = /hello { return 200 \"hello\"; }\n"
          "    location = /empty { return 204; }\n"
          "    location = /moved { return 302 /hello; }\n"
          "    location = /drop { return 444; }\n"
          "    location = /last { keepalive_timeout 0; return 200 \"last\"; }\n"
          "    location = /echo { client_body_in_single_buffer on; client_body_buffer_size 2m; return 200 "
          "\"$request_method $http_x_test\"; }\n"
          "    location = /page.shtml { ssi on; ssi_types *; }\n"
          "  } }\n");
  Process nginx({.arguments = {"nginx", "-c", conf, "-p", directory.path(), "-e", "stderr"}});
  INFO(nginx.errors());
  REQUIRE(listens(port, nginx));
  const std::string base = "http://127.0.0.1:" + std::to_string(port);
  const auto at = [&base](const char* target) { return base + target; };
  const std::string hello = at("/hello");
  const std::string empty = at("/empty");
  const std::string moved = at("/moved");
  const std::string drop = at("/drop");
  const std::string last = at("/last");
  const std::string echo = at("/echo");
  const std::string page = at("/page.shtml");
  const std::string file = at("/large");
  const std::string small = at("/small");
  const std::string none = at("/none");
  const http::Field test{"X-Test", "of a field"};
  const http::Field range{"Range", "bytes=10-19"};
  const http::Field beyond{"Range", "bytes=99999999-"};
  const http::Field since{"If-Modified-Since", "Tue, 01 Jan 2999 00:00:00 GMT"};
  const std::string two(std::size_t{2} << 20U, 'y');
  const std::string three(std::size_t{3} << 20U, 'y');
  ClientFixture rig;
  Source source(two);
  run_cases(rig, {{"GET", {.url = hello}, 200, "hello"},
                  {"HEAD", {.method = http::Method::head, .url = hello}, 200, ""},
                  {"HEAD of a large file", {.method = http::Method::head, .url = file}, 200, ""},
                  {"204", {.url = empty}, 204, ""},
                  {"302 is not followed", {.url = moved}, 302},
                  {"404", {.url = none}, 404},
                  {"a large file", {.url = file}, 200, large},
                  {"a part of it", {.url = file, .fields = {&range, 1}}, 206, large.substr(10, 10)},
                  {"416", {.url = file, .fields = {&beyond, 1}}, 416},
                  {"304", {.url = file, .fields = {&since, 1}}, 304, ""},
                  {"chunked", {.url = page}, 200, "before GET after\n"},
                  {"chunked, and the next", {.url = small}, 200, "small\n"},
                  {"a field", {.url = echo, .fields = {&test, 1}}, 200, "GET of a field"},
                  {"POST", {.method = http::Method::post, .url = echo, .body = "hello"}, 200, "POST "},
                  {"POST of two megabytes", {.method = http::Method::post, .url = echo, .body = two}, 200, "POST "},
                  {"POST in chunks", {.method = http::Method::post, .url = echo, .source = &source}, 200, "POST "},
                  {"PUT that is expected",
                   {.method = http::Method::put, .url = echo, .body = two, .expect_continue = true},
                   200,
                   "PUT "},
                  {"405", {.method = http::Method::post, .url = small, .body = "x"}, 405},
                  {"OPTIONS", {.method = http::Method::options, .url = echo}, 200, "OPTIONS "},
                  {"and the last", {.url = last}, 200, "last"}});
  CHECK(rig.client().idle() == 0);
  CHECK(rig.metrics.opened->value() == 1);
  CHECK(rig.fetch({.url = "http://a/hello", .endpoint = *net::Endpoint::parse("unix:" + directory.path() + "/socket")})
            .body == "hello");
  // More than it takes: it answers before it has read all, and closes.
  const Fetched refused = rig.fetch({.method = http::Method::post, .url = echo, .body = three});
  CHECK(refused.status == 413);
  const Fetched unexpected =
      rig.fetch({.method = http::Method::post, .url = echo, .body = three, .expect_continue = true});
  CHECK(unexpected.status == 413);
  CHECK(rig.get(drop).error == client_errc::closed_before_answer);
  CHECK(rig.get(hello).body == "hello");
  CHECK(rig.get(drop).error);  // on a kept one: sent again, and dropped again
  CHECK(rig.metrics.retried->value() == 1);
  SECTION("and by many fibers") {
    std::atomic<int> good{0};
    const std::uint64_t before = rig.metrics.opened->value();
    rig.run([&] {
      sync::WaitGroup group;
      for (int f = 0; f < 32; ++f) {
        group.add(1);
        (void)runtime::spawn("client", [&] {
          for (int i = 0; i < 50; ++i)
            if (fetch(context::background(), rig.client(), {.url = i % 2 == 0 ? hello : page}).status == 200) ++good;
          group.done();
        });
      }
      (void)group.wait();
    });
    CHECK(good == 1'600);
    CHECK(rig.metrics.opened->value() - before <= 32);
  }
  SECTION("when it is stopped, idle connections go, and the next request says so") {
    CHECK(rig.get(hello).body == "hello");
    nginx.signal(SIGTERM);
    REQUIRE(nginx.wait().has_value());
    CHECK(rig.get(hello).error == std::errc::connection_refused);
    CHECK(rig.client().idle() == 0);
  }
}

TEST_CASE("client and Python's http.server", "[integration][client][tools]") {
  if (!installed("python3")) {
    WARN("python3 is not installed: left out");
    return;
  }
  TemporaryDirectory directory;
  const std::string large = megabytes(2);
  directory.write("large.txt", large);
  const std::string script = directory.write("server.py", R"(import http.server, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = sys.argv[2]
    def log_message(self, *a): pass
    def do_POST(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while True:
                size = int(self.rfile.readline(), 16)
                body += self.rfile.read(size)
                self.rfile.readline()
                if size == 0: break
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for i in range(0, len(body), 1000):
                part = body[i:i+1000]
                self.wfile.write(b"%x\r\n" % len(part) + part + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
        else:
            if self.path == "/length": self.send_header("Content-Length", str(len(body)))
            else: self.close_connection = True
            self.end_headers()
            self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
server.serve_forever()
)");
  for (const char* const version : {"HTTP/1.0", "HTTP/1.1"}) {
    INFO(version);
    const bool kept = std::string_view(version) == "HTTP/1.1";
    const std::uint16_t port = free_port();
    Process python({.arguments = {"python3", script, std::to_string(port), version}, .directory = directory.path()});
    REQUIRE(listens(port, python));
    const std::string base = "http://127.0.0.1:" + std::to_string(port);
    const std::string file = base + "/large.txt";
    const std::string none = base + "/none";
    const std::string length = base + "/length";
    const std::string chunked = base + "/chunked";
    const std::string until_end = base + "/until_end";
    ClientFixture rig;
    Source source(large);
    std::vector<Case> cases{
        {"GET of a file", {.url = file}, 200, large},
        {"HEAD of it", {.method = http::Method::head, .url = file}, 200, ""},
        {"404", {.url = none}, 404},
        {"501", {.method = http::Method::patch, .url = file, .close = true}, 501},
        {"POST and an answer with a length", {.method = http::Method::post, .url = length, .body = large}, 200, large},
        {"POST in chunks", {.method = http::Method::post, .url = length, .source = &source}, 200, large},
        {"POST and an answer until the end",
         {.method = http::Method::post, .url = until_end, .body = large},
         200,
         large}};
    if (kept)
      cases.push_back(
          {"POST and an answer in chunks", {.method = http::Method::post, .url = chunked, .body = large}, 200, large});
    run_cases(rig, cases);
    // A 1.0 server that says chunked all the same is not believed.
    if (!kept)
      CHECK(rig.fetch({.method = http::Method::post, .url = chunked, .body = "x"}).error ==
            http::refused_answer(http::Reject::transfer_encoding_in_http10));
    if (kept) {
      const std::uint64_t before = rig.metrics.opened->value();
      for (int i = 0; i < 10; ++i) CHECK(rig.get(file).status == 200);
      CHECK(rig.metrics.opened->value() <= before + 1);
    }
  }
}

TEST_CASE("client and Go's net/http", "[integration][client][tools]") {
  if (!installed("go")) {
    WARN("go is not installed: left out");
    return;
  }
  TemporaryDirectory directory;
  const std::string source_file = directory.write("server.go", R"(package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	http.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") })
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Write(b)
	})
	http.HandleFunc("/early", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", 413) })
	http.HandleFunc("/empty", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })
	http.HandleFunc("/hints", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a>; rel=preload")
		w.WriteHeader(103)
		w.WriteHeader(103)
		fmt.Fprint(w, "hints")
	})
	http.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		for i := 0; i < 10; i++ {
			fmt.Fprint(w, strings.Repeat("x", 1000))
			w.(http.Flusher).Flush()
		}
		w.Header().Set("X-Sum", "10000")
	})
	http.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < 5; i++ {
			fmt.Fprintf(w, "%d ", i)
			w.(http.Flusher).Flush()
			time.Sleep(time.Millisecond)
		}
	})
	http.HandleFunc("/panic", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	http.HandleFunc("/panic-chunked", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	http.HandleFunc("/panic-before", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	http.HandleFunc("/hang", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
)");
  const std::string binary = directory.path() + "/server";
  const Finished built = run({.arguments = {"go", "build", "-o", binary, source_file},
                              .environment = {{"GO111MODULE", "off"}, {"GOFLAGS", ""}, {"CGO_ENABLED", "0"}}},
                             300s);
  if (built.code != 0) {
    WARN("go cannot build a program here: left out: " << built.errors.substr(0, 200));
    return;
  }
  const std::uint16_t port = free_port();
  Process server({.arguments = {binary, std::to_string(port)}});
  REQUIRE(listens(port, server));
  const std::string base = "http://127.0.0.1:" + std::to_string(port);
  const std::string hello = base + "/hello";
  const std::string echo = base + "/echo";
  const std::string early = base + "/early";
  const std::string empty = base + "/empty";
  const std::string hints = base + "/hints";
  const std::string trailers = base + "/trailers";
  const std::string stream = base + "/stream";
  const std::string large = megabytes(2);
  ClientFixture rig;
  run_cases(rig, {{"GET", {.url = hello}, 200, "hello"},
                  {"HEAD", {.method = http::Method::head, .url = hello}, 200, ""},
                  {"204", {.url = empty}, 204, ""},
                  {"103 twice, then the answer", {.url = hints}, 200, "hints"},
                  {"trailers", {.url = trailers}, 200, std::string(10'000, 'x')},
                  {"a stream", {.url = stream}, 200, "0 1 2 3 4 "},
                  {"POST with a length", {.method = http::Method::post, .url = echo, .body = "small"}, 200, "small"},
                  {"POST that is expected",
                   {.method = http::Method::post, .url = echo, .body = "small", .expect_continue = true},
                   200,
                   "small"},
                  {"404", {.url = base}, 404}});
  CHECK(rig.metrics.opened->value() == 1);
  CHECK((rig.fetch({.method = http::Method::put, .url = echo, .body = large}).body == large));
  Source source(large);
  CHECK((rig.fetch({.method = http::Method::put, .url = echo, .source = &source}).body == large));
  CHECK(rig.metrics.opened->value() == 1);
  const Fetched refused = rig.fetch({.method = http::Method::post, .url = early, .body = large});
  if (!refused.error) CHECK(refused.status == 413);
  const Fetched expected =
      rig.fetch({.method = http::Method::post, .url = early, .body = large, .expect_continue = true});
  CHECK(expected.status == 413);
  CHECK(rig.get(base + "/panic").error == client_errc::truncated_body);
  CHECK(rig.get(base + "/panic-chunked").error == client_errc::truncated_body);
  CHECK(rig.get(base + "/panic-before").error == client_errc::closed_before_answer);
  Fetched hung;
  rig.run([&] {
    const context::Cancelable scope = context::with_timeout(context::background(), 20ms);
    hung = fetch(scope.context, rig.client(), {.url = base + "/hang"});
    scope.cancel();
  });
  CHECK(hung.error == context::errc::deadline_exceeded);
  CHECK(rig.get(hello).body == "hello");
  std::atomic<int> good{0};
  const std::uint64_t before = rig.metrics.opened->value();
  rig.run([&] {
    sync::WaitGroup group;
    for (int f = 0; f < 32; ++f) {
      group.add(1);
      (void)runtime::spawn("client", [&] {
        for (int i = 0; i < 50; ++i)
          if (fetch(context::background(), rig.client(), {.url = i % 2 == 0 ? hello : trailers}).status == 200) ++good;
        group.done();
      });
    }
    (void)group.wait();
  });
  CHECK(good == 1'600);
  CHECK(rig.metrics.opened->value() - before <= 32);
  // An upload that is pushed while it comes back.
  Fetched pushed;
  rig.run([&] {
    const context::Context ctx;
    auto upload = rig.client().begin(ctx, {.method = http::Method::post, .url = echo});
    for (int i = 0; i < 10 && upload; ++i) (void)upload->write(ctx, "piece ");
    auto answer = upload->finish(ctx);
    if (answer) pushed.body = answer->read_all(ctx, 1'000).value_or("");
  });
  CHECK(pushed.body.starts_with("piece piece "));
  CHECK(pushed.body.size() == 60);
}

// What an Exchange offers beside an answer: fields that others change, hooks, encoders, trailers, interim answers,
// upgrades, two fibers at once, and a Site that is replaced meanwhile.
#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/http/filter.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/integration/requests.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;

namespace {

/// For what handlers find, on threads of the runtime: told by the next unmistaken().
std::atomic<int> mistakes{0};
void must(bool holds) {
  if (!holds) ++mistakes;
}
bool unmistaken() { return mistakes.exchange(0) == 0; }

/// Writes its name into a field of the head, behind what is there.
class NameHook final : public http::HeadHook {
 public:
  explicit NameHook(std::string name) : name_(std::move(name)) {}
  void on_head(http::AnswerHead& head) override {
    const std::string seen = std::string(head.find("X-Told")) + name_;
    if (!head.set("X-Told", seen)) throw std::runtime_error("refused");
  }

 private:
  const std::string name_;
};

/// Every byte twice; what comes in gathers until somebody wants it.
class Twice final : public http::BodyEncoder {
 public:
  explicit Twice(std::size_t fails_at = SIZE_MAX) : fails_at_(fails_at) {}
  Result<http::Encoded> encode(std::string_view in, std::span<char> out, http::EncodeTo to) noexcept override {
    gathered_ += in;
    if ((seen_ += in.size()) > fails_at_) return fail(std::errc::io_error);
    if (to == http::EncodeTo::go_on && gathered_.size() < 10'000) return http::Encoded{in.size(), 0, true};
    const std::size_t n = std::min(gathered_.size(), out.size() / 2);
    for (std::size_t i = 0; i < n; ++i) out[2 * i] = out[2 * i + 1] = gathered_[i];
    gathered_.erase(0, n);
    return http::Encoded{in.size(), 2 * n, gathered_.empty()};
  }

 private:
  const std::size_t fails_at_;
  std::size_t seen_ = 0;
  std::string gathered_;
};

std::shared_ptr<http::Filter> doubling(std::size_t fails_at = SIZE_MAX) {
  return http::make_filter([fails_at](http::Exchange& ex, http::Next next) {
    class Hook final : public http::HeadHook {
     public:
      explicit Hook(std::size_t at) : encoder(at) {}
      void on_head(http::AnswerHead& head) override {
        if (!head.set("Content-Encoding", "twice")) return;
        (void)head.encode(encoder);
      }
      Twice encoder;
    } hook(fails_at);
    ex.on_head(hook);
    return next(ex);
  });
}

std::string twice(std::string_view text) {
  std::string out;
  for (const char c : text) out.append(2, c);
  return out;
}

}  // namespace

TEST_CASE("exchange: fields of an answer are changed before it, while it waits, and not behind its head",
          "[http][exchange]") {
  HttpServer server({route("/before", handler([](http::Exchange& ex) -> Result<void> {
                             must(ex.set_field("X-A", "1").has_value());
                             must(ex.add_field("X-A", "2").has_value());
                             must(ex.remove_field("Server").has_value());
                             must(error_of(ex.set_field("X-B", "a\r\nb")) == std::errc::invalid_argument);
                             return ex.respond(200, "text/plain", "body");
                           })),
                     route("/begun", handler([](http::Exchange& ex) -> Result<void> {
                             const http::Field own{"X-A", "own"};
                             if (const auto begun = ex.begin({.fields = {&own, 1}}); !begun) return begun;
                             must(ex.set_field("X-A", "changed").has_value());
                             if (const auto sent = ex.write("part"); !sent) return sent;
                             must(ex.set_field("X-C", "late").has_value());
                             must(!ex.committed());
                             if (const auto sent = ex.flush(); !sent) return sent;
                             must(error_of(ex.set_field("X-D", "too late")) == std::errc::operation_not_permitted);
                             return ex.end();
                           })),
                     route("/prepared", hello(), {http::make_filter([](http::Exchange& ex, http::Next next) {
                             must(ex.set_field("Content-Type", "text/x").has_value());
                             return next(ex);
                           })}),
                     route("/error", handler([](http::Exchange& ex) -> Result<void> {
                             must(ex.set_field("X-A", "1").has_value());
                             return ex.respond_error(503);
                           }))},
                    [] {
                      http::ServerOptions o;
                      o.server_name = "name";
                      return o;
                    }());
  HttpClient client(server.port());
  const auto before = client.ask(get("/before"));
  REQUIRE(before);
  CHECK(before->head.find("X-A: 1\r\nX-A: 2\r\n") != std::string::npos);
  CHECK(before->field("Server").empty());
  CHECK(before->body == "body");
  const auto begun = client.ask(get("/begun"));
  REQUIRE(begun);
  CHECK(begun->field("X-A") == "changed");
  CHECK(begun->field("X-C") == "late");
  CHECK(begun->field("Server") == "name");
  CHECK(begun->field("X-D").empty());
  CHECK(begun->body == "part");
  const auto prepared = client.ask(get("/prepared"));
  REQUIRE(prepared);
  CHECK(prepared->field("Content-Type") == "text/x");
  CHECK(prepared->body == "hello");
  const auto error = client.ask(get("/error"));
  REQUIRE(error);
  CHECK(error->status == 503);
  CHECK(error->field("X-A") == "1");
  CHECK(unmistaken());
}

TEST_CASE("exchange: hooks are told once, the inner one first, of errors too; one that throws or has gone is left out",
          "[http][exchange]") {
  const auto names = [](std::string name) {
    return http::make_filter([name](http::Exchange& ex, http::Next next) {
      NameHook hook(name);
      ex.on_head(hook);
      return next(ex);
    });
  };
  const auto throws = http::make_filter([](http::Exchange& ex, http::Next next) {
    class Throws final : public http::HeadHook {
      void on_head(http::AnswerHead& /*head*/) override { throw std::runtime_error("hook"); }
    } hook;
    ex.on_head(hook);
    return next(ex);
  });
  const auto leaves = http::make_filter([](http::Exchange& ex, http::Next next) {
    {
      NameHook hook("gone");
      ex.on_head(hook);
    }
    return next(ex);
  });
  HttpServer server({route("/hooks", hello(), {names("o"), throws, leaves, names("i")}),
                     route("/throws", handler([](http::Exchange&) -> Result<void> { throw std::runtime_error("h"); }),
                           {names("o"), names("i")})});
  HttpClient client(server.port());
  const auto answer = client.ask(get("/hooks"));
  REQUIRE(answer);
  CHECK(answer->field("X-Told") == "io");
  CHECK(answer->body == "hello");
  const auto failed = client.ask(get("/throws"));
  REQUIRE(failed);
  CHECK(failed->status == 500);
  CHECK(failed->field("X-Told") == "io");
}

TEST_CASE("exchange: a body goes through an encoder, with its length where all of it fits", "[http][exchange]") {
  const std::string large(100'000, 'x');
  std::atomic<bool> go_on{false};
  HttpServer server(
      {route("/whole", hello(), {doubling()}), route("/stream", streams_when(go_on), {doubling()}),
       route("/large", handler([&](http::Exchange& ex) { return ex.respond(200, "text/plain", large); }), {doubling()}),
       route("/empty", handler([](http::Exchange& ex) { return ex.respond(304, {}, {}); }), {doubling()}),
       route("/fails", hello(), {doubling(2)}),
       route("/fails-late", handler([&](http::Exchange& ex) -> Result<void> {
               if (const auto begun = ex.begin({}); !begun) return begun;
               for (int k = 0; k < 2; ++k)
                 if (const auto sent = ex.write(std::string_view(large).substr(0, 40'000)); !sent) return sent;
               return ex.end();
             }),
             {doubling(50'000)})});
  HttpClient client(server.port());
  const auto whole = client.ask(get("/whole"));
  REQUIRE(whole);
  CHECK(whole->field("Content-Length") == "10");
  CHECK(whole->field("Content-Encoding") == "twice");
  CHECK(whole->body == twice("hello"));
  const auto head = client.ask("HEAD /whole HTTP/1.1\r\nHost: a\r\n\r\n", true);
  REQUIRE(head);
  CHECK(head->field("Content-Encoding") == "twice");
  CHECK(head->field("Content-Length").empty());
  // What was flushed comes out before the rest is written.
  client.send(get("/stream"));
  while (client.rest().find(twice("first")) == std::string::npos) REQUIRE(client.more());
  go_on = true;
  const auto stream = client.receive();
  REQUIRE(stream);
  CHECK(stream->field("Transfer-Encoding") == "chunked");
  CHECK(stream->body == twice("firstsecond"));
  const auto much = client.ask(get("/large"));
  REQUIRE(much);
  CHECK(much->field("Content-Length").empty());
  CHECK(much->body == twice(large));
  const auto empty = client.ask(get("/empty"));
  REQUIRE(empty);
  CHECK(empty->status == 304);
  // Before the head a failure is a clean error without what the hook had said; behind it the body is cut.
  HttpClient other(server.port());
  const auto fails = other.ask(get("/fails"));
  REQUIRE(fails);
  CHECK(fails->status == 500);
  CHECK(fails->field("Content-Encoding").empty());
  HttpClient third(server.port());
  CHECK_FALSE(third.ask(get("/fails-late")));
}

TEST_CASE("exchange: an answer at once has whatever a head has, and the length of its body", "[http][exchange]") {
  const auto name = std::make_shared<std::string>("/new");
  HttpServer server({route("/made", handler([name](http::Exchange& ex) -> Result<void> {
                             const http::Field location{"Location", *name};
                             return ex.respond({.status = 201,
                                                .content_length = 99,  // the body's counts
                                                .content_type = "text/x",
                                                .fields = {&location, 1}},
                                               "made");
                           })),
                     route("/same", handler([](http::Exchange& ex) -> Result<void> {
                             return ex.respond({.status = 304, .content_length = 7}, {});
                           })),
                     route("/wrong", handler([](http::Exchange& ex) -> Result<void> {
                             must(error_of(ex.respond({.status = 199}, "x")) == std::errc::invalid_argument);
                             must(error_of(ex.respond({.status = 600}, "x")) == std::errc::invalid_argument);
                             if (const auto done = ex.respond({.status = 200}, "right"); !done) return done;
#ifdef NDEBUG  // a debug build stops there
                             must(!ex.respond({.status = 200}, "twice"));
#endif
                             return {};
                           }))});
  for (const char* const method : {"GET", "HEAD"}) {
    HttpClient client(server.port());
    const bool head = std::string_view(method) == "HEAD";
    client.send(std::string(method) + " /made HTTP/1.1\r\nHost: a\r\n\r\n" + get("/same") + get("/wrong"));
    while (client.rest().find("right") == std::string::npos) REQUIRE(client.more());
    const std::string seen = client.rest();
    INFO(seen);
    CHECK(seen.starts_with("HTTP/1.1 201 Created\r\n"));
    CHECK(seen.find("Content-Type: text/x\r\nLocation: /new\r\nContent-Length: 4\r\n\r\n" +
                    std::string(head ? "" : "made") + "HTTP/1.1 304 ") != std::string::npos);
    CHECK(seen.find("Content-Length: 7\r\n\r\nHTTP/1.1 200 OK") != std::string::npos);
  }
  CHECK(unmistaken());
}

TEST_CASE("exchange: trailers of a request and of an answer", "[http][exchange]") {
  HttpServer server({route("/in", handler([](http::Exchange& ex) -> Result<void> {
                             for (;;) {
                               const auto piece = ex.read_body();
                               if (!piece) return fail(piece.error());
                               if (piece->empty()) break;
                             }
                             const http::HeaderView trailers = ex.trailers();
                             return ex.respond(200, "text/plain",
                                               std::to_string(trailers.size()) + ":" +
                                                   std::string(trailers.find("x-sum")) + ":" +
                                                   std::string(trailers.find("x-two")));
                           })),
                     route("/out", handler([](http::Exchange& ex) -> Result<void> {
                             if (const auto begun = ex.begin({}); !begun) return begun;
                             if (const auto sent = ex.write("data"); !sent) return sent;
                             const http::Field bad{"Content-Type", "x"};
                             must(error_of(ex.end({&bad, 1})) == std::errc::invalid_argument);
                             const http::Field sum{"X-Sum", "42"};
                             return ex.end({&sum, 1});
                           }))});
  const std::string chunked =
      post("/in", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\nX-Sum:  42 \r\nX-Two: b\r\n\r\n");
  HttpClient client(server.port());
  CHECK(client.ask(chunked)->body == "2:42:b");
  for (const char c : chunked) REQUIRE(client.send({&c, 1}));
  CHECK(client.receive()->body == "2:42:b");
  CHECK(client.ask(post("/in", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"))->body == "0::");
  CHECK(client.ask(post("/in", "Content-Length: 3\r\n", "abc"))->body == "0::");
  client.send(get("/out") + get("/in"));
  while (client.rest().find("0::") == std::string::npos) REQUIRE(client.more());
  CHECK(client.rest().find("4\r\ndata\r\n0\r\nX-Sum: 42\r\n\r\nHTTP/1.1 200") != std::string::npos);
  HttpClient old(server.port());
  const auto to_old = old.ask("GET /out HTTP/1.0\r\n\r\n");
  REQUIRE(to_old);
  CHECK(to_old->body == "data");
  CHECK(unmistaken());
}

TEST_CASE("exchange: interim answers come before the answer, and to clients that know them", "[http][exchange]") {
  HttpServer server({route("/", handler([](http::Exchange& ex) -> Result<void> {
                             const http::Field link{"Link", "</a.css>; rel=preload"};
                             for (int i = 0; i < 2; ++i)
                               if (const auto sent = ex.respond_interim(103, {&link, 1}); !sent) return sent;
                             for (const unsigned status : {100U, 101U, 200U})
                               must(error_of(ex.respond_interim(status, {})) == std::errc::invalid_argument);
                             if (const auto sent = ex.respond(200, "text/plain", "body"); !sent) return sent;
                             must(error_of(ex.respond_interim(103, {})) == std::errc::operation_not_permitted);
                             return {};
                           }))});
  HttpClient client(server.port());
  const auto answer = client.ask(get("/"));
  REQUIRE(answer);
  CHECK(answer->body == "body");
  CHECK(client.interim() == 2);
  HttpClient old(server.port());
  REQUIRE(old.ask("GET / HTTP/1.0\r\n\r\n"));
  CHECK(old.interim() == 0);
  CHECK(unmistaken());
}

TEST_CASE("exchange: an upgrade gives the bytes away, what was read ahead first", "[http][exchange]") {
  HttpServer server({route("/", handler([](http::Exchange& ex) -> Result<void> {
                             const http::Field own{"X-Own", "1"};
                             const Result<net::ByteStream*> bytes = ex.upgrade("echo", {&own, 1});
                             if (!bytes) return ex.respond_error(426);
                             std::byte data[100];
                             for (;;) {
                               const Result<std::size_t> n =
                                   (*bytes)->read_some(data, Deadline::in(std::chrono::seconds(10)));
                               if (!n || *n == 0) return {};
                               if (const auto sent = (*bytes)->write_some(std::span(data).first(*n)); !sent)
                                 return fail(sent.error());
                             }
                           }))});
  HttpClient client(server.port());
  client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nahead");
  while (client.rest().find("ahead") == std::string::npos) REQUIRE(client.more());
  CHECK(client.rest().starts_with(
      "HTTP/1.1 101 Switching Protocols\r\nX-Own: 1\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nahead"));
  client.send(" and later");
  while (client.rest().find(" and later") == std::string::npos) REQUIRE(client.more());
  client.finish_sending();
  while (client.more()) {
  }
  CHECK(client.ended());
  for (const char* const refused :
       {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n"
        "Content-Length: 1\r\n\r\nx"}) {
    HttpClient other(server.port());
    const auto answer = other.ask(refused);
    REQUIRE(answer);
    CHECK(answer->status == 426);
  }
}

TEST_CASE("exchange: one fiber reads while another writes", "[http][exchange]") {
  // Both at once: the client takes nothing of the answer until it has sent half of what it sends.
  HttpServer server({[] {
    http::Route r =
        route("/", handler([](http::Exchange& ex) -> Result<void> {
                struct Shared {
                  std::atomic<std::uint64_t> read{0};
                  std::atomic<bool> ended{false};
                } shared;
                sync::WaitGroup done;
                if (const auto begun = ex.begin({}); !begun) return begun;
                done.add(1);
                std::error_code wrong;
                const Result<void> spawned = runtime::spawn("reader", [&] {
                  for (;;) {
                    const auto piece = ex.read_body();
                    if (!piece) wrong = piece.error();
                    if (!piece || piece->empty()) break;
                    shared.read += piece->size();
                  }
                  shared.ended = true;
                  (void)done.done();
                });
                if (!spawned) return spawned;
                std::uint64_t written = 0;
                Result<void> sent;
                const std::string block(4096, 'w');
                while (sent && (!shared.ended || written < shared.read)) {
                  const std::uint64_t wanted = shared.read - written;
                  if (wanted == 0) {
                    runtime::yield();
                    continue;
                  }
                  sent = ex.write(std::string_view(block).substr(0, std::min<std::uint64_t>(wanted, block.size())));
                  if (sent) sent = ex.flush();
                  written += std::min<std::uint64_t>(wanted, block.size());
                }
                done.wait();
                if (wrong) return fail(wrong);
                return sent ? ex.end() : sent;
              }));
    r.body_size = 100'000'000;
    return r;
  }()});
  static constexpr std::size_t kSize = 4'000'000;
  for (const char* const expect : {"", "Expect: 100-continue\r\n"}) {
    HttpClient client(server.port());
    REQUIRE(client.send(post("/", "Content-Length: " + std::to_string(kSize) + "\r\n" + expect, {})));
    std::thread sender([&] {
      const std::string block(100'000, 'r');
      for (std::size_t sent = 0; sent < kSize; sent += block.size()) (void)client.send(block);
    });
    const auto answer = client.receive();
    sender.join();
    REQUIRE(answer);
    CHECK(answer->body == std::string(kSize, 'w'));
    CHECK(client.ask(post("/", "Content-Length: 1\r\n", "x"))->body == "w");
  }
}

TEST_CASE("server: a request ends by the site it began with, the next one sees the new", "[http][exchange]") {
  std::atomic<bool> inside{false};
  std::atomic<bool> go_on{false};
  auto waits = handler([&](http::Exchange& ex) -> Result<void> {
    inside = true;
    while (!go_on) (void)runtime::sleep_for(std::chrono::milliseconds(1));
    return ex.respond(200, "text/plain", "old");
  });
  const std::weak_ptr<http::Handler> watched = waits;
  HttpServer server({route("/", std::move(waits))});
  HttpClient client(server.port());
  client.send(get("/") + get("/"));  // the second is in the buffer already
  while (!inside) std::this_thread::yield();
  const auto site_with = [&](std::string body, std::uint32_t header_size) {
    http::SiteOptions options;
    options.head.header_size = header_size;
    return *http::Site::make(std::move(options),
                             {route("/", *http::make_respond_handler({.content_type = "text/plain", .body = body}))},
                             server.server().site().get());
  };
  server.server().use(site_with("new", 16 * 1024));
  CHECK_FALSE(watched.expired());
  HttpClient other(server.port());
  CHECK(other.ask(get("/"))->body == "new");
  go_on = true;
  CHECK(client.receive()->body == "old");
  CHECK(client.receive()->body == "new");
  for (int i = 0; i < 10'000 && !watched.expired(); ++i) std::this_thread::yield();
  CHECK(watched.expired());
  // Limits of heads are those of a connection's buffers: they are followed between requests, too.
  server.server().use(site_with("small", 1024));
  CHECK(client.ask(get("/"))->body == "small");
  const auto refused = client.ask(get("/", "X-Long: " + std::string(2000, 'x') + "\r\n"));
  REQUIRE(refused);
  CHECK(refused->status == 431);
}

TEST_CASE("server: a client that always has the next request half sent is served by the new site, too",
          "[http][exchange]") {
  std::mutex mutex;
  std::vector<std::string> targets;
  auto note = [&](const http::AccessRecord& r) {
    const std::scoped_lock lock(mutex);
    targets.emplace_back(r.target);
  };
  HttpServer server({route("/", *http::make_respond_handler({.content_type = "text/plain", .body = "old"}))});
  const auto use = [&](std::string body, std::uint32_t header_size) {
    http::SiteOptions options;
    options.head.header_size = header_size;
    options.access_log = {
        [](void* self, const http::AccessRecord& r) noexcept { (*static_cast<decltype(note)*>(self))(r); }, &note};
    server.server().use(*http::Site::make(
        std::move(options), {route("/", *http::make_respond_handler({.content_type = "text/plain", .body = body}))},
        server.server().site().get()));
  };
  HttpClient client(server.port());
  const std::string request = get("/");
  client.send(request + request.substr(0, 1));
  CHECK(client.receive()->body == "old");
  // By what serves when the rest comes, also with limits of heads of its own: twice, so that each is left once.
  for (const std::uint32_t header_size : {32U * 1024, 1024U}) {
    use("new " + std::to_string(header_size), header_size);
    client.send(request.substr(1) + request.substr(0, 1));
    CHECK(client.receive()->body == "new " + std::to_string(header_size));
  }
  // What would have been too much for the old site, and comes in one piece.
  use("large", 64 * 1024);
  client.send("ET / HTTP/1.1\r\nHost: a\r\nX-Long: " + std::string(2000, 'x') + "\r\n\r\n" + request.substr(0, 1));
  CHECK(client.receive()->body == "large");
  // What has come of the next head is more than the new site takes.
  client.send("ET / HTTP/1.1\r\nHost: a\r\nX-Long: " + std::string(2000, 'x'));
  use("small", 1024);
  client.send("y");
  const auto refused = client.receive();
  REQUIRE(refused);
  CHECK(refused->status == 431);
  CHECK(client.wait_end());
  // Told by what knows what was asked for.
  const std::scoped_lock lock(mutex);
  CHECK(targets.back() == "/");
}

TEST_CASE("server: sites are replaced under load, and no request fails", "[http][exchange]") {
  const auto site_of = [](int i) {
    http::SiteOptions options;
    options.head.target_size = i % 10 == 0 ? 4096U : 8192U;
    return *http::Site::make(std::move(options),
                             {route("/", *http::make_respond_handler({.body = std::to_string(i)}))});
  };
  HttpServer server({route("/", *http::make_respond_handler({.body = "0"}))});
  std::atomic<bool> over{false};
  std::atomic<unsigned> failed{0};
  std::atomic<unsigned> served{0};
  std::vector<std::thread> clients;
  for (int c = 0; c < 3; ++c)
    clients.emplace_back([&] {
      HttpClient client(server.port());
      int last = 0;
      while (!over) {
        client.send(get("/") + get("/") + get("/"));
        for (int i = 0; i < 3; ++i) {
          const auto answer = client.receive();
          if (!answer || answer->status != 200 || std::stoi(answer->body) < last) {
            ++failed;
            return;
          }
          last = std::stoi(answer->body);
          ++served;
        }
      }
    });
  for (int i = 1; i <= 200; ++i) {
    const unsigned before = served;
    server.server().use(site_of(i));
    while (served < before + 10 && failed == 0) std::this_thread::yield();
  }
  over = true;
  for (std::thread& t : clients) t.join();
  CHECK(failed == 0);
  CHECK(HttpClient(server.port()).ask(get("/"))->body == "200");
}

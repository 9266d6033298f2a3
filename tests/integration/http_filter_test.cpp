// Filters around a handler, and what they do to an answer on its way: the chain's order and its misuse, fields that
// come too late, encoders that are strict about how they are called, and trailers behind them.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/bug.hpp"
#include "core/base/defer.hpp"
#include "core/http/filter.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;

namespace {

using Filters = std::vector<std::shared_ptr<http::Filter>>;

struct Trail {
  std::string text;
};

/// Leaves its name before what is behind it, and the same in brackets when that is over.
std::shared_ptr<http::Filter> traced(std::string name) {
  return http::make_filter([name = std::move(name)](http::Exchange& ex, http::Next next) {
    ex.slot<Trail>().text += name;
    const Result<void> done = next(ex);
    ex.slot<Trail>().text += "(" + name + std::to_string(ex.status()) + ")";
    return done;
  });
}

/// Tells the trail when all inside of it is over.
std::shared_ptr<http::Filter> tells(std::atomic<std::string*>& to) {
  return http::make_filter([&to](http::Exchange& ex, http::Next next) {
    const Result<void> done = next(ex);
    delete to.exchange(new std::string(ex.slot<Trail>().text));
    return done;
  });
}

/// Every byte three times, as compressions see to it: it needs room for all three at once, and who was told to finish
/// may be told nothing else any more. At the end comes "end".
class Strict final : public http::BodyEncoder {
 public:
  Result<http::Encoded> encode(std::string_view in, std::span<char> out, http::EncodeTo to) noexcept override {
    if (finishing_ && to != http::EncodeTo::finish) return fail(std::errc::io_error);
    finishing_ = to == http::EncodeTo::finish;
    const std::size_t n = std::min(in.size(), out.size() / 3);
    for (std::size_t i = 0; i < 3 * n; ++i) out[i] = in[i / 3];
    if (n != in.size() || !finishing_) return http::Encoded{n, 3 * n, n == in.size()};
    if (out.size() - 3 * n < 3) return http::Encoded{n, 3 * n, false};
    for (std::size_t i = 0; i < 3; ++i) out[3 * n + i] = "end"[i];
    return http::Encoded{n, 3 * n + 3, true};
  }

 private:
  bool finishing_ = false;
};

std::string encoded(std::string_view text) {
  std::string out;
  for (const char c : text) out.append(3, c);
  return out + "end";
}

std::shared_ptr<http::Filter> strict() {
  return http::make_filter([](http::Exchange& ex, http::Next next) {
    class Hook final : public http::HeadHook {
      void on_head(http::AnswerHead& head) override {
        if (!head.encode(encoder)) throw std::runtime_error("another encodes");
      }
      Strict encoder;
    } hook;
    ex.on_head(hook);
    return next(ex);
  });
}

/// Gathers all, and gives it away when it is told to flush or to finish.
class Gathers final : public http::BodyEncoder {
 public:
  Result<http::Encoded> encode(std::string_view in, std::span<char> out, http::EncodeTo to) noexcept override {
    held_ += in;
    if (to == http::EncodeTo::go_on) return http::Encoded{in.size(), 0, true};
    const std::size_t n = std::min(held_.size(), out.size());
    std::copy_n(held_.begin(), n, out.begin());
    held_.erase(0, n);
    return http::Encoded{in.size(), n, held_.empty()};
  }

 private:
  std::string held_;
};

/// Makes no step.
class Stuck final : public http::BodyEncoder {
  Result<http::Encoded> encode(std::string_view, std::span<char>, http::EncodeTo) noexcept override {
    return http::Encoded{0, 0, false};
  }
};

}  // namespace

TEST_CASE("filters: outermost, the site's, the route's, each in its order, around errors of routing, too",
          "[http][filter]") {
  std::atomic<std::string*> told{nullptr};
  const auto trail = [&] {
    const std::unique_ptr<std::string> text(told.exchange(nullptr));
    return text != nullptr ? *text : std::string("none");
  };
  http::ServerOptions options;
  options.outermost = {tells(told), traced("a")};
  options.filters = {traced("b"), traced("c")};
  HttpServer server({route("/", handler([](http::Exchange& ex) {
                             ex.slot<Trail>().text += "!";
                             return ex.respond(200, "text/plain", ex.slot<Trail>().text);
                           }),
                           {traced("d"), traced("e")}),
                     route("/fails", handler([](http::Exchange&) { return fail(std::errc::io_error); }), {traced("d")}),
                     route("/answers", hello(),
                           {http::make_filter([](http::Exchange& ex, const http::Next&) {
                              return ex.respond(403, "text/plain", "no");
                            }),
                            traced("never")})},
                    std::move(options));
  // Each on a connection that ends: then the filters have returned.
  const auto ask = [&](std::string_view path) {
    HttpClient client(server.port());
    auto answer = client.ask(get(path, "Connection: close\r\n"));
    (void)client.wait_end();
    return answer;
  };
  CHECK(ask("/")->body == "abcde!");
  CHECK(trail() == "abcde!(e200)(d200)(c200)(b200)(a200)");
  CHECK(ask("/nowhere")->status == 404);
  CHECK(trail() == "abc(c404)(b404)(a404)");
  // What has failed inside is an answer for those outside.
  CHECK(ask("/fails")->status == 500);
  CHECK(trail() == "abcd(d500)(c500)(b500)(a500)");
  CHECK(ask("/answers")->body == "no");
  CHECK(trail() == "abc(c403)(b403)(a403)");
}

TEST_CASE("filters: one that throws before the rest is a 500, one that does so behind it changes nothing",
          "[http][filter]") {
  HttpServer server(
      {route("/before", hello(), {http::make_filter([](http::Exchange&, const http::Next&) -> Result<void> {
               throw std::runtime_error("before");
             })}),
       route("/behind", hello(), {http::make_filter([](http::Exchange& ex, http::Next next) -> Result<void> {
               (void)next(ex);
               throw std::runtime_error("behind");
             })}),
       route("/error", hello(), {http::make_filter([](http::Exchange& ex, http::Next next) -> Result<void> {
               (void)next(ex);
               return fail(std::errc::io_error);
             })})});
  HttpClient client(server.port());
  for (int i = 0; i < 2; ++i) {
    CHECK(client.ask(get("/before"))->status == 500);
    CHECK(client.ask(get("/behind"))->body == "hello");
    CHECK(client.ask(get("/error"))->body == "hello");
  }
}

#ifdef NDEBUG  // a debug build stops there
TEST_CASE("filters: the rest is run once, and who neither runs it nor answers is a bug", "[http][filter]") {
  std::atomic<int> served{0};
  std::atomic<bool> refused{false};
  HttpServer server(
      {route("/twice", handler([&](http::Exchange& ex) {
               ++served;
               return ex.respond(200, "text/plain", "once");
             }),
             {http::make_filter([&](http::Exchange& ex, http::Next next) -> Result<void> {
               if (const auto done = next(ex); !done) return done;
               refused = error_of(next(ex)) == std::errc::operation_not_permitted;
               return {};
             })}),
       route("/never", hello(),
             {http::make_filter([](http::Exchange&, const http::Next&) -> Result<void> { return {}; })})});
  HttpClient client(server.port());
  const std::uint64_t before = bug_count();
  CHECK(client.ask(get("/twice", "Connection: close\r\n"))->body == "once");
  CHECK(client.wait_end());
  CHECK(served == 1);
  CHECK(refused);
  CHECK(bug_count() == before + 1);
  CHECK(HttpClient(server.port()).ask(get("/never"))->status == 500);
  CHECK(bug_count() == before + 2);
}
#endif

TEST_CASE("filters: fields are refused when the answer is on its way, of a prepared one, too", "[http][filter]") {
  std::atomic<int> late{0};
  const auto tries = http::make_filter([&](http::Exchange& ex, http::Next next) {
    const Result<void> done = next(ex);
    for (const Result<void>& edit : {ex.set_field("X-A", "1"), ex.add_field("X-A", "1"), ex.remove_field("X-A")})
      if (error_of(edit) == std::errc::operation_not_permitted) ++late;
    return done;
  });
  const auto changes = http::make_filter([](http::Exchange& ex, http::Next next) -> Result<void> {
    for (const Result<void>& edit : {ex.remove_field("Content-Type"), ex.add_field("X-B", "1"),
                                     ex.add_field("x-b", "2"), ex.set_field("Empty", "")})
      if (!edit) return edit;
    return next(ex);
  });
  const auto adds = http::make_filter([](http::Exchange& ex, http::Next next) -> Result<void> {
    if (const Result<void> edit = ex.set_field("X-B", "1"); !edit) return edit;
    return next(ex);
  });
  HttpServer server({route("/plain", hello(), {tries}), route("/changed", hello(), {tries, changes}),
                     route("/kept", hello(), {adds})});
  HttpClient client(server.port());
  const auto kept = client.ask(get("/kept"));
  REQUIRE(kept);
  CHECK(kept->field("Content-Type") == "text/plain");
  CHECK(kept->field("X-B") == "1");
  CHECK(client.ask(get("/plain"))->field("X-A").empty());
  const auto changed = client.ask(get("/changed", "Connection: close\r\n"));
  REQUIRE(changed);
  CHECK(client.wait_end());
  CHECK(changed->field("Content-Type").empty());
  CHECK(changed->head.find("X-B: 1\r\nx-b: 2\r\nEmpty: \r\n") != std::string::npos);
  CHECK(changed->field("Content-Length") == "5");
  CHECK(changed->body == "hello");
  CHECK(late == 6);
}

TEST_CASE("filters: an encoder is asked to finish once, and a step that wants more room gets it", "[http][filter]") {
  // Around what fits into the buffer for what was encoded: with its end, all but its end, and more.
  const std::size_t sizes[] = {0, 1, 4776, 4777, 4778, 4779, 4780, 14'000, 100'000};
  HttpServer server({route("/whole/*", handler([&](http::Exchange& ex) {
                             const std::string body(sizes[std::stoul(std::string(ex.rest()))], 'x');
                             return ex.respond(200, "text/plain", body);
                           }),
                           {strict()}),
                     route("/pieces/*", handler([&](http::Exchange& ex) -> Result<void> {
                             const std::string body(sizes[std::stoul(std::string(ex.rest()))], 'x');
                             if (const auto begun = ex.begin({.content_length = body.size()}); !begun) return begun;
                             for (std::size_t at = 0; at < body.size(); at += 3000)
                               if (const auto sent = ex.write(std::string_view(body).substr(at, 3000)); !sent)
                                 return sent;
                             return ex.end();
                           }),
                           {strict()})});
  HttpClient client(server.port());
  for (std::size_t i = 0; i < std::size(sizes); ++i) {
    for (const char* const way : {"/whole/", "/pieces/"}) {
      CAPTURE(sizes[i], way);
      const auto answer = client.ask(get(way + std::to_string(i)));
      REQUIRE(answer);
      const std::string expected = encoded(std::string(sizes[i], 'x'));
      CHECK((answer->body == expected));
      const bool fits = expected.size() < 14'336;
      CHECK(answer->field("Content-Length") == (fits ? std::to_string(expected.size()) : ""));
      CHECK(answer->field("Transfer-Encoding") == (fits ? "" : "chunked"));
    }
  }
}

TEST_CASE("filters: what an encoder gathers comes out when the handler flushes", "[http][filter]") {
  std::atomic<bool> go_on{false};
  const auto gathers = http::make_filter([](http::Exchange& ex, http::Next next) {
    class Hook final : public http::HeadHook {
      void on_head(http::AnswerHead& head) override { (void)head.encode(encoder); }
      Gathers encoder;
    } hook;
    ex.on_head(hook);
    return next(ex);
  });
  HttpServer server({route("/", streams_when(go_on), {gathers})});
  HttpClient client(server.port(), 0, std::chrono::seconds(3));
  client.send(get("/"));
  bool came = true;
  while (came && client.rest().find("first") == std::string::npos) came = client.more();
  CHECK(came);
  CHECK(client.rest().find("second") == std::string::npos);
  go_on = true;
  const auto answer = client.receive();
  REQUIRE(answer);
  CHECK(answer->body == "firstsecond");
}

TEST_CASE("filters: a file passes an encoder, and one that makes no step ends the answer", "[http][filter]") {
  const TemporaryDirectory directory;
  const std::string content(200'000, 'f');
  const std::string path = directory.write("file", content);
  const auto sends = [&](std::size_t promised) {
    return handler([&path, promised](http::Exchange& ex) -> Result<void> {
      const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
      const defer close([fd] { ::close(fd); });
      if (const auto begun = ex.begin({.content_length = promised}); !begun) return begun;
      if (const auto sent = ex.write_file(fd, 0, promised); !sent) return sent;
      return ex.end();
    });
  };
  const auto stuck = http::make_filter([](http::Exchange& ex, http::Next next) {
    class Hook final : public http::HeadHook {
      void on_head(http::AnswerHead& head) override { (void)head.encode(encoder); }
      Stuck encoder;
    } hook;
    ex.on_head(hook);
    return next(ex);
  });
  HttpServer server({route("/file", sends(content.size()), {strict()}),
                     route("/short", sends(content.size() + 1), {strict()}), route("/stuck", hello(), {stuck}),
                     route("/stuck-late", sends(content.size()), {stuck})});
  HttpClient client(server.port());
  const auto file = client.ask(get("/file"));
  REQUIRE(file);
  CHECK(file->field("Transfer-Encoding") == "chunked");
  CHECK((file->body == encoded(content)));
  CHECK_FALSE(client.ask("HEAD /file HTTP/1.1\r\nHost: a\r\n\r\n", true)->head.empty());
  CHECK_FALSE(client.ask(get("/short")));
  CHECK(HttpClient(server.port()).ask(get("/stuck"))->status == 500);
  CHECK_FALSE(HttpClient(server.port()).ask(get("/stuck-late")));
}

TEST_CASE("filters: trailers go behind what an encoder has made, and not where a length was said", "[http][filter]") {
  std::atomic<bool> refused{false};
  const auto sums = handler([](http::Exchange& ex) -> Result<void> {
    if (const auto begun = ex.begin({}); !begun) return begun;
    if (const auto sent = ex.write("data"); !sent) return sent;
    const http::Field sum{"X-Sum", "42"};
    return ex.end({&sum, 1});
  });
  HttpServer server({route("/encoded", sums, {strict()}), route("/plain", sums),
                     route("/length", handler([&](http::Exchange& ex) -> Result<void> {
                             if (const auto begun = ex.begin({.content_length = 4}); !begun) return begun;
                             if (const auto sent = ex.write("data"); !sent) return sent;
                             const http::Field sum{"X-Sum", "42"};
                             refused = error_of(ex.end({&sum, 1})) == std::errc::invalid_argument && !ex.committed();
                             return ex.end();
                           }))});
  HttpClient client(server.port());
  client.send(get("/encoded", "Connection: close\r\n"));
  while (client.more()) {
  }
  CHECK(client.rest().find("Transfer-Encoding: chunked\r\n") != std::string::npos);
  CHECK(client.rest().ends_with("f\r\ndddaaatttaaaend\r\n0\r\nX-Sum: 42\r\n\r\n"));
  HttpClient other(server.port());
  CHECK(other.ask(get("/length"))->field("Content-Length") == "4");
  CHECK(refused);
  REQUIRE(other.ask("HEAD /plain HTTP/1.1\r\nHost: a\r\n\r\n", true));
  CHECK(other.rest().empty());
  CHECK(other.ask(get("/length"))->body == "data");  // nothing was in between
  HttpClient old(server.port());
  const auto to_old = old.ask("GET /plain HTTP/1.0\r\n\r\n");
  REQUIRE(to_old);
  CHECK(to_old->body == "data");
}

#ifdef NDEBUG  // most of it are BUGs, which end a debug build
TEST_CASE("filters: a hook on the head changes the head, and can neither answer nor begin anew", "[http][filter]") {
  // What the hook did, by the path that was asked for.
  std::atomic<int> allowed{0};
  const auto meddles = http::make_filter([&](http::Exchange& ex, http::Next next) {
    class Hook final : public http::HeadHook {
     public:
      Hook(http::Exchange& e, std::atomic<int>& a) : ex(e), allowed(a) {}
      void on_head(http::AnswerHead& head) override {
        (void)head.set("X-Hook", "told");
        const std::string_view path = ex.request().path;
        Result<void> done;
        if (path == "/respond") done = ex.respond(200, "text/plain", "another");
        if (path == "/error") done = ex.respond_error(503);
        if (path == "/write") done = ex.write("more");
        if (path == "/flush") done = ex.flush();
        if (path == "/end") done = ex.end();
        if (path == "/field") done = ex.set_field("X-Late", "1");
        if (path == "/interim") done = ex.respond_interim(103, {});
        if (path == "/discard" && ex.discard()) ++allowed;
        if (path != "/discard" && done) ++allowed;
      }
      http::Exchange& ex;
      std::atomic<int>& allowed;
    } hook(ex, allowed);
    ex.on_head(hook);
    return next(ex);
  });
  const std::vector<std::string> paths{"/respond", "/error", "/write",   "/flush",
                                       "/end",     "/field", "/interim", "/discard"};
  std::vector<http::Route> routes;
  for (const std::string& path : paths) routes.push_back(route(path, hello(), {meddles}));
  routes.push_back(route("/plain", hello()));
  HttpServer server(std::move(routes));
  for (const std::string& path : paths) {
    INFO(path);
    HttpClient client(server.port());
    // The one behind it has its own answer: none stands between the two.
    client.send(get(path) + get("/plain"));
    const auto first = client.receive();
    REQUIRE(first);
    CHECK(first->status == 200);
    CHECK(first->body == "hello");
    CHECK(first->field("X-Hook") == "told");
    CHECK(first->field("X-Late").empty());
    const auto second = client.receive();
    REQUIRE(second);
    CHECK(second->body == "hello");
    CHECK(second->field("X-Hook").empty());
  }
  CHECK(allowed == 0);
}
#endif

TEST_CASE("filters: what failed behind its head is not ended by a filter as if it were whole", "[http][filter]") {
  std::atomic<int> ended{0};
  std::atomic<int> refused{0};
  const auto swallows = http::make_filter([&](http::Exchange& ex, http::Next next) -> Result<void> {
    if (next(ex)) return {};
    const Result<void> written = ex.write("rest");
    const Result<void> flushed = ex.flush();
    const Result<void> end = ex.end();
    for (const Result<void>& done : {written, flushed, end}) ++(done ? ended : refused);
    return {};
  });
  HttpServer server({route("/", handler([](http::Exchange& ex) -> Result<void> {
                             if (const auto begun = ex.begin({}); !begun) return begun;
                             if (const auto sent = ex.write("part"); !sent) return sent;
                             if (const auto sent = ex.flush(); !sent) return sent;
                             return fail(std::errc::io_error);
                           }),
                           {swallows})});
  HttpClient client(server.port());
  client.send(get("/"));
  CHECK_FALSE(client.receive());  // cut in the middle of the body
  CHECK(client.rest().find("0\r\n\r\n") == std::string::npos);
  CHECK(ended == 0);
  CHECK(refused == 3);
}

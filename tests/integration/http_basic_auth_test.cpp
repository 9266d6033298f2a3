// Basic authentication, as clients see it.
#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/defer.hpp"
#include "core/base/log.hpp"
#include "core/http/filters/basic_auth_filter.hpp"
#include "core/metric/registry.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/no_descriptors.hpp"

using namespace fiberd;
using namespace fiberd::test;
using http::Exchange;

namespace {

// bcrypt's published vector, and of cost 4: "secret"; of cost 10, which takes a while.
const std::string kUser = "user:$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";    // U*U
const std::string kOther = "other:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n";  // secret
const std::string kSlow = "slow:$2y$12$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";

const std::string kRight = "Authorization: Basic dXNlcjpVKlU=\r\n";       // user:U*U
const std::string kWrong = "Authorization: Basic dXNlcjp3cm9uZw==\r\n";   // user:wrong
const std::string kNobody = "Authorization: Basic bm9ib2R5OlUqVQ==\r\n";  // nobody:U*U
const std::string kSecret = "Authorization: Basic b3RoZXI6c2VjcmV0\r\n";  // other:secret

void quiet(LogLevel /*level*/, std::string_view /*line*/) noexcept {}

struct Counters {
  metric::Registry registry;
  metric::Counter* counter(const char* name) { return &registry.counter(registry.family({.name = name, .help = "h"})); }
  http::BasicAuthMetrics metrics{counter("a_total"), counter("b_total"), counter("c_total"), counter("d_total")};
};

http::Route guarded(http::BasicAuthOptions options) {
  http::Route made{.spec = {.path = "/"}, .handler = handler([](Exchange& ex) {
                                            return ex.respond(200, "text/plain",
                                                              "hello " + ex.find_slot<http::AuthenticatedUser>()->name);
                                          })};
  std::string why;
  auto filter = http::make_basic_auth_filter(std::move(options), &why);
  CAPTURE(why);
  REQUIRE(filter);
  made.filters = {*filter};
  return made;
}
Answer ask(const HttpServer& server, const std::string& fields) {
  HttpClient client(server.port());
  const auto answer = client.ask(get("/", fields));
  REQUIRE(answer);
  return *answer;
}

/// By a rename, as editors and tools do: never half of it is seen.
void put(const TemporaryDirectory& dir, const std::string& users) {
  const std::string fresh = dir.write("users.new", users);
  std::filesystem::rename(fresh, dir.path() + "/users");
}

}  // namespace

TEST_CASE("who is in the password file comes in", "[integration][http][basic_auth]") {
  const TemporaryDirectory dir;
  put(dir, kUser + kOther);
  Counters counters;
  HttpServer server({guarded({.file = dir.path() + "/users", .realm = "the house", .metrics = counters.metrics})});
  const Answer none = ask(server, "");
  CHECK(none.status == 401);
  CHECK(none.field("WWW-Authenticate") == "Basic realm=\"the house\", charset=\"UTF-8\"");
  CHECK(counters.metrics.refused->value() == 0);  // to be asked is no refusal
  CHECK(ask(server, kRight).body == "hello user");
  CHECK(ask(server, kSecret).body == "hello other");
  for (const std::string& bad : {kWrong, kNobody, std::string("Authorization: Basic !!!\r\n"),
                                 std::string("Authorization: Bearer dXNlcjpVKlU=\r\n"), kRight + kRight,
                                 std::string("Authorization: Basic ") + std::string(4000, 'A') + "\r\n"}) {
    CAPTURE(bad);
    const Answer refused = ask(server, bad);
    CHECK(refused.status == 401);
    CHECK_FALSE(refused.field("WWW-Authenticate").empty());
  }
  CHECK(counters.metrics.refused->value() == 6);
}

TEST_CASE("a password is hashed once, and wrong ones too for a while", "[integration][http][basic_auth]") {
  const TemporaryDirectory dir;
  put(dir, kUser);
  Counters counters;
  HttpServer server({guarded({.file = dir.path() + "/users",
                              .keep = std::chrono::hours(1),
                              .keep_wrong = std::chrono::hours(1),
                              .metrics = counters.metrics})});
  for (int i = 0; i < 10; ++i) CHECK(ask(server, kRight).status == 200);
  CHECK(counters.metrics.hashed->value() == 1);
  for (int i = 0; i < 10; ++i) CHECK(ask(server, kWrong).status == 401);
  CHECK(counters.metrics.hashed->value() == 2);
  for (int i = 0; i < 10; ++i) CHECK(ask(server, kNobody).status == 401);
  CHECK(counters.metrics.hashed->value() == 3);
}

TEST_CASE("a changed password file counts, and a broken one does not", "[integration][http][basic_auth]") {
  set_log_sink(&quiet);
  const TemporaryDirectory dir;
  put(dir, kUser);
  Counters counters;
  HttpServer server(
      {guarded({.file = dir.path() + "/users", .keep = std::chrono::hours(1), .metrics = counters.metrics})});
  CHECK(ask(server, kRight).status == 200);
  // Looked at once a second: asked until it is seen.
  const auto until = [&](const std::string& who, unsigned status) {
    return eventually([&] { return ask(server, who).status == status; });
  };
  put(dir, kOther);
  CHECK(until(kSecret, 200));
  CHECK(ask(server, kRight).status == 401);  // though its verdict was kept
  put(dir, "user:plain\n");
  CHECK(eventually([&] { return ask(server, kSecret).status == 200 && counters.metrics.file_errors->value() != 0; }));
  CHECK(ask(server, kSecret).status == 200);
  put(dir, kUser + kOther);
  CHECK(until(kRight, 200));
  CHECK(ask(server, kSecret).status == 200);
  set_log_sink(nullptr);
}

TEST_CASE("a crowd of passwords waits in a short line, and those who are in go past it",
          "[integration][http][basic_auth]") {
  const TemporaryDirectory dir;
  put(dir, kUser + kSlow);
  Counters counters;
  HttpServer server({guarded({.file = dir.path() + "/users",
                              .keep = std::chrono::hours(1),
                              .keep_wrong = std::chrono::nanoseconds(0),
                              .concurrency = 1,
                              .max_waiting = 3,
                              .metrics = counters.metrics})});
  CHECK(ask(server, kRight).status == 200);
  // Each of these takes a tenth of a second and more of the one that may be hashed at a time.
  std::vector<std::unique_ptr<HttpClient>> crowd;
  for (int i = 0; i < 12; ++i) {
    crowd.push_back(std::make_unique<HttpClient>(server.port()));
    crowd.back()->send(get("/", "Authorization: Basic c2xvdzp3cm9uZw==\r\n"));  // slow:wrong
  }
  CHECK(ask(server, kRight).status == 200);
  unsigned wrong = 0;
  unsigned busy = 0;
  for (const auto& client : crowd) {
    const auto answer = client->receive();
    REQUIRE(answer);
    wrong += answer->status == 401 ? 1 : 0;
    busy += answer->status == 503 ? 1 : 0;
    if (answer->status == 503) CHECK(answer->field("Retry-After") == "1");
  }
  CHECK(wrong + busy == 12);
  CHECK(wrong >= 3);
  CHECK(busy >= 1);
  CHECK(counters.metrics.overloaded->value() == busy);
}

TEST_CASE("a client that goes away in the middle of its hash costs nobody a place", "[integration][http][basic_auth]") {
  const TemporaryDirectory dir;
  put(dir, kUser + kSlow);
  Counters counters;
  HttpServer server({guarded({.file = dir.path() + "/users",
                              .keep_wrong = std::chrono::nanoseconds(0),
                              .concurrency = 1,
                              .max_waiting = 2,
                              .metrics = counters.metrics})});
  for (unsigned i = 0; i < 5; ++i) {
    HttpClient client(server.port());
    client.send(get("/", "Authorization: Basic c2xvdzp3cm9uZw==\r\n"));
    REQUIRE(eventually([&] { return counters.metrics.hashed->value() > i; }));
  }
  CHECK(eventually([&] { return ask(server, kRight).status == 200; }));
}

TEST_CASE("a password file that is none is refused when the filter is made", "[integration][http][basic_auth]") {
  const TemporaryDirectory dir;
  put(dir, "user:plain\n");
  std::string why;
  CHECK_FALSE(http::make_basic_auth_filter({.file = dir.path() + "/users"}, &why));
  CHECK(why.find("line 1") != std::string::npos);
  CHECK(http::make_basic_auth_filter({.file = dir.path() + "/none"}, &why).error() ==
        std::errc::no_such_file_or_directory);
  put(dir, kUser);
  CHECK_FALSE(http::make_basic_auth_filter({.file = dir.path() + "/users", .realm = "a\"b"}, &why));
}

TEST_CASE("what counts lives as long as somebody may count, a look at the file that outlived the filter, too",
          "[integration][http][basic_auth]") {
  set_log_sink(&quiet);
  const TemporaryDirectory dir;
  put(dir, kUser + kSlow);
  Counters counters;
  auto keeps = std::make_shared<int>();
  const std::weak_ptr<int> kept = keeps;
  http::BasicAuthOptions options{.file = dir.path() + "/users", .metrics = counters.metrics};
  options.keeps = std::move(keeps);
  std::optional<HttpServer> server;
  server.emplace(std::vector<http::Route>{guarded(std::move(options))});
  {
    // Its hash goes on behind it: cost 12, long beside what follows.
    HttpClient client(server->port());
    client.send(get("/", "Authorization: Basic c2xvdzp3cm9uZw==\r\n"));
    REQUIRE(eventually([&] { return counters.metrics.hashed->value() == 1; }));
  }
  CHECK_FALSE(kept.expired());
  server.reset();
  CHECK(kept.expired());  // and not for ever
  set_log_sink(nullptr);
}

TEST_CASE("a password file that could not be read for want of a descriptor is read later, though it has not changed",
          "[integration][http][basic_auth]") {
  const TemporaryDirectory dir;
  put(dir, kUser);
  set_log_sink(&quiet);
  const defer loud([] { set_log_sink(nullptr); });
  Counters counters;
  HttpServer server({guarded({.file = dir.path() + "/users", .metrics = counters.metrics})});
  HttpClient client(server.port());
  CHECK(client.ask(get("/", kRight))->status == 200);
  put(dir, kOther);
  {
    const NoDescriptors none;
    CHECK(eventually([&] {
      (void)client.ask(get("/", kRight));
      return counters.metrics.file_errors->value() >= 1;
    }));
  }
  CHECK(eventually([&] { return client.ask(get("/", kRight))->status == 401; }));
  CHECK(client.ask(get("/", kSecret))->status == 200);
}

TEST_CASE("each answer that says busy is counted, also when it was the request's time that ran out",
          "[integration][http][basic_auth]") {
  const TemporaryDirectory dir;
  put(dir, kSlow);
  Counters counters;
  http::Route route = guarded({.file = dir.path() + "/users", .metrics = counters.metrics});
  route.request_timeout = std::chrono::milliseconds(1);  // a hash takes a hundred times that
  HttpServer server({route});
  HttpClient client(server.port());
  const auto answer = client.ask(get("/", "Authorization: Basic c2xvdzp3cm9uZw==\r\n"));
  REQUIRE(answer);
  CHECK(answer->status == 503);
  CHECK(counters.metrics.overloaded->value() == 1);
}

// Basic authentication, as clients see it.
#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/http/filters/basic_auth_filter.hpp"
#include "core/metric/registry.hpp"
#include "tests/integration/password_lines.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/kept_log.hpp"
#include "tests/support/no_descriptors.hpp"

using namespace fiberd;
using namespace fiberd::test;
using http::Exchange;

namespace {

const std::string kWrong = "Authorization: Basic dXNlcjp3cm9uZw==\r\n";   // user:wrong
const std::string kNobody = "Authorization: Basic bm9ib2R5OlUqVQ==\r\n";  // nobody:U*U

struct Counters {
  metric::Registry registry;
  metric::Counter* counter(const char* name) { return &registry.counter(registry.family({.name = name, .help = "h"})); }
  http::BasicAuthMetrics metrics{.refused = counter("a_total"),
                                 .overloaded = counter("b_total"),
                                 .hashed = counter("c_total"),
                                 .file_errors = counter("d_total"),
                                 .challenged = counter("e_total")};
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
Answer ask_as(const HttpServer& server, const std::string& fields) {
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
  const Answer none = ask_as(server, "");
  CHECK(none.status == 401);
  CHECK(none.field("WWW-Authenticate") == "Basic realm=\"the house\", charset=\"UTF-8\"");
  CHECK(counters.metrics.refused->value() == 0);  // to be asked is no refusal
  CHECK(counters.metrics.challenged->value() == 1);
  CHECK(ask_as(server, kAsUser).body == "hello user");
  CHECK(ask_as(server, kAsOther).body == "hello other");
  for (const std::string& bad : {kWrong, kNobody, std::string("Authorization: Basic !!!\r\n"),
                                 std::string("Authorization: Bearer dXNlcjpVKlU=\r\n"), kAsUser + kAsUser,
                                 std::string("Authorization: Basic ") + std::string(4000, 'A') + "\r\n"}) {
    CAPTURE(bad);
    const Answer refused = ask_as(server, bad);
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
  for (int i = 0; i < 10; ++i) CHECK(ask_as(server, kAsUser).status == 200);
  CHECK(counters.metrics.hashed->value() == 1);
  for (int i = 0; i < 10; ++i) CHECK(ask_as(server, kWrong).status == 401);
  CHECK(counters.metrics.hashed->value() == 2);
  for (int i = 0; i < 10; ++i) CHECK(ask_as(server, kNobody).status == 401);
  CHECK(counters.metrics.hashed->value() == 3);
}

TEST_CASE("a changed password file counts, and a broken one does not", "[integration][http][basic_auth]") {
  const SilentLog silence;
  const TemporaryDirectory dir;
  put(dir, kUser);
  Counters counters;
  HttpServer server(
      {guarded({.file = dir.path() + "/users", .keep = std::chrono::hours(1), .metrics = counters.metrics})});
  CHECK(ask_as(server, kAsUser).status == 200);
  // Looked at once a second: asked until it is seen.
  const auto until = [&](const std::string& who, unsigned status) {
    return eventually([&] { return ask_as(server, who).status == status; });
  };
  put(dir, kOther);
  CHECK(until(kAsOther, 200));
  CHECK(ask_as(server, kAsUser).status == 401);  // though its verdict was kept
  put(dir, "user:plain\n");
  CHECK(
      eventually([&] { return ask_as(server, kAsOther).status == 200 && counters.metrics.file_errors->value() != 0; }));
  CHECK(ask_as(server, kAsOther).status == 200);
  put(dir, kUser + kOther);
  CHECK(until(kAsUser, 200));
  CHECK(ask_as(server, kAsOther).status == 200);
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
  CHECK(ask_as(server, kAsUser).status == 200);
  // Each of these takes a tenth of a second and more of the one that may be hashed at a time.
  std::vector<std::unique_ptr<HttpClient>> crowd;
  for (int i = 0; i < 12; ++i) {
    crowd.push_back(std::make_unique<HttpClient>(server.port()));
    crowd.back()->send(get("/", kAsSlow));  // slow:wrong
  }
  CHECK(ask_as(server, kAsUser).status == 200);
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
    client.send(get("/", kAsSlow));
    REQUIRE(eventually([&] { return counters.metrics.hashed->value() > i; }));
  }
  CHECK(eventually([&] { return ask_as(server, kAsUser).status == 200; }));
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
  const SilentLog silence;
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
    client.send(get("/", kAsSlow));
    REQUIRE(eventually([&] { return counters.metrics.hashed->value() == 1; }));
  }
  CHECK_FALSE(kept.expired());
  server.reset();
  CHECK(kept.expired());  // and not for ever
}

TEST_CASE("a password file that could not be read for want of a descriptor is read later, though it has not changed",
          "[integration][http][basic_auth]") {
  const TemporaryDirectory dir;
  put(dir, kUser);
  const SilentLog silence;
  Counters counters;
  HttpServer server({guarded({.file = dir.path() + "/users", .metrics = counters.metrics})});
  HttpClient client(server.port());
  CHECK(client.ask(get("/", kAsUser))->status == 200);
  put(dir, kOther);
  {
    const NoDescriptors none;
    CHECK(eventually([&] {
      (void)client.ask(get("/", kAsUser));
      return counters.metrics.file_errors->value() >= 1;
    }));
  }
  CHECK(eventually([&] { return client.ask(get("/", kAsUser))->status == 401; }));
  CHECK(client.ask(get("/", kAsOther))->status == 200);
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
  const auto answer = client.ask(get("/", kAsSlow));
  REQUIRE(answer);
  CHECK(answer->status == 503);
  CHECK(counters.metrics.overloaded->value() == 1);
}

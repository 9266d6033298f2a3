// A listener keeps its socket while who is served by it, and within which limits, is replaced.
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "tests/support/daemon.hpp"
#include "tests/unit/net/support.hpp"

using namespace fiberd;
using namespace fiberd::net;
using namespace net_test;
using namespace std::chrono_literals;

namespace {

/// Answers with its letter and closes.
struct Answerer {
  char letter = 'a';
  std::atomic<unsigned> calls{0};
  std::atomic<bool> dead{false};
  std::atomic<unsigned> calls_after_death{0};
  static void serve(void* self, net::Admitted&& connection) noexcept {
    auto& a = *static_cast<Answerer*>(self);
    if (a.dead.load()) a.calls_after_death.fetch_add(1);
    a.calls.fetch_add(1);
    const Result<net::TcpStream> stream = connection.take_stream();
    (void)!::write(stream->native_handle(), &a.letter, 1);
    if (a.dead.load()) a.calls_after_death.fetch_add(1);
  }
  [[nodiscard]] Serving serving() noexcept { return {.on_accept = &serve, .argument = this}; }
};

/// What a connection is answered: a letter, or 0 when it was closed at once, or -1.
int ask(const Endpoint& to) {
  const int fd = ::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  int answer = -1;
  char c = 0;
  const timeval patience{10, 0};
  (void)::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (::connect(fd, to.data(), to.size()) == 0) {
    const auto n = ::read(fd, &c, 1);
    answer = n == 1 ? c : n == 0 || errno == ECONNRESET ? 0 : -1;
  }
  ::close(fd);
  return answer;
}

std::unique_ptr<Listener> listen_on(runtime::Runtime& rt, ListenerOptions options = {}) {
  auto listener = Listener::bind(rt, *Endpoint::parse("127.0.0.1:0"), std::move(options));
  if (!listener) throw std::system_error(listener.error());
  return std::move(*listener);
}

}  // namespace

TEST_CASE("a handler that was replaced is not called any more, and no client is lost", "[net][listener][replace]") {
  constexpr unsigned kGenerations = 300;
  auto rt = start(2);
  auto listener = listen_on(*rt);
  std::vector<std::unique_ptr<Answerer>> all;
  for (unsigned i = 0; i < kGenerations; ++i) {
    all.push_back(std::make_unique<Answerer>());
    all.back()->letter = static_cast<char>('a' + i % 2);
  }
  REQUIRE(listener->start(all[0]->serving()).has_value());
  const Endpoint to = listener->local();
  std::atomic<bool> over{false};
  std::atomic<unsigned> asked{0};
  std::atomic<unsigned> lost{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 3; ++i)
    clients.emplace_back([&] {
      while (!over.load()) {
        if (const int answer = ask(to); answer != 'a' && answer != 'b') lost.fetch_add(1);
        asked.fetch_add(1);
      }
    });
  unsigned calls_after_death = 0;
  for (unsigned i = 1; i < kGenerations; ++i) {
    // Each serves somebody before it goes.
    for (int tries = 0; all[i - 1]->calls.load() == 0 && tries < 10'000; ++tries) std::this_thread::sleep_for(100us);
    listener->replace(all[i]->serving());
    all[i - 1]->dead.store(true);
  }
  over.store(true);
  for (auto& client : clients) client.join();
  unsigned calls = 0;
  for (const auto& a : all) {
    calls += a->calls.load();
    calls_after_death += a->calls_after_death.load();
  }
  CHECK(calls_after_death == 0);
  CHECK(lost == 0);
  CHECK(calls == asked);
  CHECK(calls >= kGenerations - 1);
  listener->stop();
  CHECK(listener->connections() == 0);
}

TEST_CASE("limits and gates are replaced with the handler; open connections count on", "[net][listener][replace]") {
  metric::Cells cells;
  metric::Counter refused(cells, cells.allocate(1));
  auto rt = start(1);
  ListenerOptions options;
  options.metrics.refused_limit = &refused;
  auto listener = listen_on(*rt, options);
  struct Keeper {
    std::vector<net::Admitted> open;
    static void keep(void* self, net::Admitted&& connection) noexcept {
      auto& kept = static_cast<Keeper*>(self)->open;
      kept.push_back(std::move(connection));
      (void)!::write(kept.back().socket(), "k", 1);
    }
  } keeper;
  Answerer other;
  REQUIRE(listener->start({.on_accept = &Keeper::keep, .argument = &keeper, .connections = 2}).has_value());
  const Endpoint to = listener->local();
  CHECK(ask(to) == 'k');
  CHECK(ask(to) == 'k');
  CHECK(ask(to) == 0);
  // It is counted when it has been closed.
  for (int tries = 0; refused.value() == 0 && tries < 10'000; ++tries) std::this_thread::sleep_for(1ms);
  CHECK(refused.value() == 1);
  Serving next = other.serving();
  next.connections = 3;
  listener->replace(next);
  CHECK(ask(to) == 'a');
  next.connections = 1;
  listener->replace(next);  // waits for the call under way
  CHECK(listener->connections() == 2);
  CHECK(ask(to) == 0);
  next.connections = 10;
  next.gate = {[](void*, const Endpoint&) noexcept { return false; }, nullptr, false};
  listener->replace(next);
  CHECK(ask(to) == 0);
  CHECK(other.calls == 1);
  keeper.open.clear();
  CHECK(listener->connections() == 0);
}

TEST_CASE("a bound for each address may come and go while connections are open", "[net][listener][replace]") {
  auto rt = start(1);
  auto listener = listen_on(*rt);
  std::vector<net::Admitted> open;
  const auto keep = [](void* all, net::Admitted&& connection) noexcept {
    auto& kept = *static_cast<decltype(open)*>(all);
    kept.push_back(std::move(connection));
    (void)!::write(kept.back().socket(), "k", 1);
  };
  Serving serving{.on_accept = keep, .argument = &open};
  REQUIRE(listener->start(serving).has_value());
  const Endpoint to = listener->local();
  CHECK(ask(to) == 'k');  // of nobody's address
  serving.connections_per_address = 1;
  listener->replace(serving);
  CHECK(ask(to) == 'k');
  CHECK(ask(to) == 0);
  serving.connections_per_address = 0;
  listener->replace(serving);
  CHECK(ask(to) == 'k');
  open.clear();
  serving.connections_per_address = 1;
  listener->replace(serving);
  CHECK(ask(to) == 'k');
  open.clear();
  CHECK(listener->connections() == 0);
}

TEST_CASE("what belongs to the socket changes while it is listened on", "[net][listener][replace]") {
  auto rt = start(1);
  const test::TemporaryDirectory directory;
  const std::string path = directory.path() + "/s";
  auto listener = Listener::bind(*rt, *Endpoint::parse("unix:" + path), {});
  REQUIRE(listener.has_value());
  Answerer answerer;
  REQUIRE((*listener)->start(answerer.serving()).has_value());
  REQUIRE((*listener)->change({.backlog = 10, .mode = 0600}).has_value());
  struct stat st {};
  REQUIRE(::stat(path.c_str(), &st) == 0);
  CHECK((st.st_mode & 0777U) == 0600);
  CHECK(ask((*listener)->local()) == 'a');
  listener->reset();

  auto tcp = listen_on(*rt);
  REQUIRE(tcp->start(answerer.serving()).has_value());
  // A client that says nothing is not told of, then.
  REQUIRE(tcp->change({.defer_accept = true}).has_value());
  REQUIRE(tcp->change({.defer_accept = false}).has_value());
  CHECK(ask(tcp->local()) == 'a');
}

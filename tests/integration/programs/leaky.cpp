// A daemon whose handlers leave fibers behind, or wait long for their clients, as leaks_test.cpp asks.
#include <atomic>
#include <fiberd/core/context/context.hpp>
#include <fiberd/core/runtime/runtime.hpp>
#include <fiberd/core/sync/channel.hpp>
#include <fiberd/core/sync/mutex.hpp>
#include <fiberd/daemon/daemon.hpp>
#include <memory>
#include <mutex>
#include <string>

using namespace fiberd;

namespace {

/// The answer comes after the handler has left: nobody takes it.
Result<void> leak(http::Exchange& exchange) {
  const auto answer = std::make_shared<sync::Channel<std::string>>();
  const Result<void> spawned = runtime::spawn("computes", [answer] { (void)answer->send("too late"); });
  if (!spawned) return spawned;
  return exchange.respond(200, "text/plain", "left behind\n");
}

/// Two that wait for each other's mutex, in a daemon that serves on.
Result<void> deadlock(http::Exchange& exchange) {
  struct Accounts {
    sync::Mutex a, b;
    std::atomic<int> held{0};
  };
  const auto accounts = std::make_shared<Accounts>();
  const auto transfer = [accounts](sync::Mutex& from, sync::Mutex& to) {
    const std::scoped_lock first(from);
    ++accounts->held;
    while (accounts->held != 2) runtime::yield();
    const std::scoped_lock second(to);
  };
  for (const bool back : {false, true})
    if (const Result<void> spawned = runtime::spawn(
            "transfer", [accounts, transfer,
                         back] { transfer(back ? accounts->b : accounts->a, back ? accounts->a : accounts->b); });
        !spawned)
      return spawned;
  return exchange.respond(200, "text/plain", "locked\n");
}

/// A long poll: until there is news, or the client has left.
Result<void> poll(http::Exchange& exchange) {
  static sync::Channel<std::string> news;
  const Result<std::string> text = news.receive(exchange.client_context());
  if (!text) return fail(text.error());
  return exchange.respond(200, "text/plain", *text);
}

}  // namespace

int main(int argc, char** argv) {
  daemon::Daemon daemon;
  daemon.handle("leak", &leak);
  daemon.handle("deadlock", &deadlock);
  daemon.handle("poll", &poll);
  return daemon.main(argc, argv);
}

// <fiberd/fiberd.hpp> is enough: what docs/handlers.md speaks of, with no other header of ours.
#include <fiberd/fiberd.hpp>

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <string>

using namespace fiberd;
using namespace std::chrono_literals;

TEST_CASE("docs/handlers.md: one include brings all that the page speaks of", "[integration][docs]") {
  auto started = runtime::Runtime::start({.gomaxprocs = 1});
  REQUIRE(started.has_value());
  int steps = 0;
  (*started)->run([&steps] {
    const context::Cancelable soon = context::with_timeout(context::background(), 1h);
    const defer over([&soon] { soon.cancel(); });
    if (context::sleep(soon.context, 1us)) ++steps;
    sync::Mutex mutex;
    sync::SharedMutex shared;
    sync::Condition condition;
    condition.notify_all();
    sync::Semaphore semaphore(1);
    sync::Once once;
    sync::WaitGroup group;
    sync::Channel<int> channel(1);
    sync::AtomicSnapshot<std::string> snapshot("x");
    sync::ShardedMap<std::string, int> map(10);
    sync::ErrorGroup errors(soon.context);
    flow::TokenBucket bucket(1, 1);
    flow::WorkerPool pool({.name = "pool", .most = 1});
    if (group.go("one", [&channel] { (void)channel.try_send(1); })) group.wait();
    sync::select(sync::on_receive(channel, [&steps](Result<int> value) { steps += value ? 1 : 0; }),
                 sync::on_done(soon.context, [](std::error_code) {}), sync::after(1h, [] {}));
    steps += runtime::blocking([] { return 1; });
    if (!runtime::recover([] {})) ++steps;
    const context::Key<int> key("key");
    if (context::value(context::with_value(soon.context, key, 7), key) != nullptr) ++steps;
    (void)pool.shutdown();
  });
  CHECK(steps == 5);
  daemon::Daemon daemon;
  daemon.handle("x", [](http::Exchange& exchange) { return exchange.respond(200, "text/plain", "x"); });
  daemon.serve_tcp("y", [](const context::Context&, net::TcpStream&) {});
}

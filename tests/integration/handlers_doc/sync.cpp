// docs/handlers.md: channels, select, locks.
#include <catch2/catch.hpp>
#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <system_error>
#include <vector>

#include "core/context/context.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/condition.hpp"
#include "core/sync/mutex.hpp"
#include "core/sync/select.hpp"
#include "core/sync/semaphore.hpp"
#include "core/sync/shared_mutex.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/integration/handlers_doc/page.hpp"

using namespace fiberd;
using namespace std::chrono_literals;

TEST_CASE("docs/handlers.md: channels", "[integration][docs]") {
  int sum = 0;
  std::error_code after;
  test::on_fibers([&] {
    sync::Channel<int> jobs(16);
    sync::Channel<int> results(16);
    sync::WaitGroup workers;
    for (int i = 0; i < 4; ++i) {
      const auto worker = [&] {
        for (const int job : jobs)               // until jobs is closed and empty
          if (!results.send(job * job)) return;  // nobody wants more
      };
      if (!workers.go("worker", worker)) break;  // no memory for more: then fewer
    }
    for (int i = 1; i <= 10; ++i) (void)jobs.send(i);
    jobs.close();
    workers.wait();
    results.close();
    for (const int result : results) sum += result;
    const Result<int> none = results.receive();
    if (!none) after = none.error();
  });
  CHECK(sum == 385);
  CHECK(after == sync::errc::closed);
}

TEST_CASE("docs/handlers.md: select", "[integration][docs]") {
  std::string got;
  test::on_fibers([&got] {
    const context::Cancelable request = context::with_timeout(context::background(), 1h);
    const context::Context& ctx = request.context;
    sync::Channel<std::string> lines(1);
    sync::Channel<std::string> answers(1);
    (void)lines.send("one line");

    for (bool open = true; open;) {
      sync::select(sync::on_receive(lines,
                                    [&](Result<std::string> line) {
                                      if (line) (void)answers.send("got " + *line);
                                      open = line.has_value();  // sync::errc::closed
                                    }),
                   sync::on_done(ctx, [&](std::error_code) { open = false; }),  // canceled, or the deadline
                   sync::after(100ms, [&] { lines.close(); }));                 // nothing came for so long
    }

    std::size_t dropped = 0;
    std::string value = "one more";
    sync::select(sync::on_send(answers, value),         // moved from only when it is sent
                 sync::otherwise([&] { ++dropped; }));  // full: counted, fiberd_channel_unsent_total
    got = *answers.try_receive() + ", " + std::to_string(dropped) + " dropped";
    request.cancel();
  });
  CHECK(got == "got one line, 1 dropped");
}

TEST_CASE("docs/handlers.md: locks", "[integration][docs]") {
  int found = 0;
  std::error_code busy;
  std::size_t taken = 0;
  test::on_fibers([&] {
    sync::Mutex mutex;
    std::map<std::string, int> stock;
    {
      const std::lock_guard guard(mutex);
      stock["apples"] = 3;
    }

    sync::Condition changed;
    sync::WaitGroup group;
    const auto buyer = [&] {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return stock["pears"] != 0; });
      found = stock["pears"];
    };
    const Result<void> started = group.go("buyer", buyer);
    {
      const std::lock_guard guard(mutex);
      stock["pears"] = 5;
    }
    changed.notify_all();
    group.wait();
    if (!started) throw std::system_error(started.error());

    sync::Semaphore slots(8);
    (void)slots.acquire(8);
    const context::Cancelable soon = context::with_timeout(context::background(), 1ms);
    busy = error_of(slots.acquire(soon.context));  // all are taken: deadline_exceeded
    soon.cancel();
    slots.release(8);
    taken = slots.available();
  });
  CHECK(found == 5);
  CHECK(busy == context::errc::deadline_exceeded);
  CHECK(taken == 8);
}

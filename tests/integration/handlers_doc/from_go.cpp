// docs/go-to-fiberd.md: each idiom of Go beside its twin here. Each case runs what stands on the page.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "core/base/defer.hpp"
#include "core/context/context.hpp"
#include "core/context/value.hpp"
#include "core/context/waits.hpp"
#include "core/flow/rate.hpp"
#include "core/flow/sometimes.hpp"
#include "core/flow/token_bucket.hpp"
#include "core/runtime/recover.hpp"
#include "core/sync/after_func.hpp"
#include "core/sync/atomic_snapshot.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/condition.hpp"
#include "core/sync/error_group.hpp"
#include "core/sync/mutex.hpp"
#include "core/sync/object_pool.hpp"
#include "core/sync/once_function.hpp"
#include "core/sync/select.hpp"
#include "core/sync/semaphore.hpp"
#include "core/sync/sharded_map.hpp"
#include "core/sync/shared_mutex.hpp"
#include "core/sync/single_flight.hpp"
#include "core/sync/ticker.hpp"
#include "core/sync/timer.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/integration/handlers_doc/page.hpp"

using namespace fiberd;
using namespace std::chrono_literals;

namespace {

struct Job {
  int n = 0;
};
struct Page {
  std::string text;
};

Result<Page> fetch(const context::Context& ctx, const std::string& url) {
  if (const std::error_code error = error_of(context::sleep(ctx, 1ms))) return fail(error);
  if (url.empty()) return fail(std::errc::invalid_argument);
  return Page{"page of " + url};
}

// What returns from inside a select in Go returns after it here: the handlers say what to do.
Result<void> work_until_done(const context::Context& ctx, sync::Channel<Job>& jobs, std::atomic<int>& sum) {
  for (;;) {
    bool open = true;
    std::error_code end;
    sync::select(sync::on_receive(jobs,
                                  [&](Result<Job> job) {
                                    open = job.has_value();
                                    if (open) sum += job->n;
                                  }),
                 sync::on_done(ctx, [&](std::error_code error) { end = error; }));
    if (end) return fail(end);
    if (!open) return {};
  }
}

void flush(int& flushed) { ++flushed; }

void flush_every_so_often(const context::Context& ctx, int& flushed) {
  sync::Ticker ticker(1ms);
  while (ticker.wait(ctx)) flush(flushed);
}

}  // namespace

TEST_CASE("docs/go-to-fiberd.md: goroutines", "[integration][docs]") {
  std::atomic<int> sum{0};
  test::on_fibers([&sum] {
    sync::WaitGroup group;
    std::error_code failed;
    for (int i = 0; i < 3; ++i) {
      const Result<void> started = group.go("worker", [&sum, i] { sum += i; });
      if (!started) failed = started.error();  // no memory for it, or admission refused it
    }
    group.wait();
    if (failed) throw std::system_error(failed);
  });
  CHECK(sum == 3);
}

TEST_CASE("docs/go-to-fiberd.md: a result from a goroutine", "[integration][docs]") {
  std::string text;
  test::on_fibers([&text] {
    const context::Context ctx = context::background();
    const auto result = std::make_shared<sync::Channel<Result<Page>>>(1);
    if (!runtime::spawn("fetch", [=] { (void)result->send(fetch(ctx, "/a")); })) return;
    const Result<Result<Page>> page = result->receive(ctx);
    if (page && *page) text = (*page)->text;
  });
  CHECK(text == "page of /a");
}

TEST_CASE("docs/go-to-fiberd.md: channels", "[integration][docs]") {
  int sum = 0;
  test::on_fibers([&sum] {
    sync::Channel<Job> jobs(4);
    sync::WaitGroup group;
    const auto producer = [&jobs] {
      const defer closed([&jobs] { jobs.close(); });
      for (int i = 1; i <= 10; ++i) (void)jobs.send(Job{i});
    };
    if (!group.go("producer", producer)) return;
    for (const Job& job : jobs) sum += job.n;  // until it is closed and empty
    group.wait();
  });
  CHECK(sum == 55);
}

TEST_CASE("docs/go-to-fiberd.md: select with return", "[integration][docs]") {
  std::atomic<int> sum{0};
  std::error_code drained;
  std::error_code ended;
  test::on_fibers([&] {
    sync::Channel<Job> jobs(4);
    for (int i = 0; i < 4; ++i) (void)jobs.send(Job{i});
    jobs.close();
    drained = error_of(work_until_done(context::background(), jobs, sum));
    sync::Channel<Job> idle;
    const context::Cancelable soon = context::with_timeout(context::background(), 1ms);
    ended = error_of(work_until_done(soon.context, idle, sum));
    soon.cancel();
  });
  CHECK(sum == 6);
  CHECK_FALSE(drained);
  CHECK(ended == context::errc::deadline_exceeded);
}

TEST_CASE("docs/go-to-fiberd.md: time.After, default, a nil channel", "[integration][docs]") {
  std::string answer;
  bool full = false;
  test::on_fibers([&] {
    sync::Channel<std::string> answers;
    sync::select(sync::on_receive(answers, [&](Result<std::string> text) { answer = text.value_or("closed"); }),
                 sync::after(2ms, [&] { answer = "too late"; }));

    sync::select(sync::on_send(answers, "hello"), sync::otherwise([&] { full = true; }));

    sync::Channel<std::string>* in = &answers;
    in = nullptr;  // this branch is switched off
    sync::select(sync::on_receive(in, [](const Result<std::string>&) {}), sync::after(1ms));
  });
  CHECK(answer == "too late");
  CHECK(full);
}

TEST_CASE("docs/go-to-fiberd.md: tickers and timers", "[integration][docs]") {
  int flushed = 0;
  int events = 0;
  bool quiet = false;
  std::atomic<bool> reminded{false};
  test::on_fibers([&] {
    const context::Cancelable brief = context::with_timeout(context::background(), 20ms);
    flush_every_so_often(brief.context, flushed);
    brief.cancel();

    sync::Channel<int> lines(1);
    (void)lines.send(1);
    sync::Timer idle(30s);
    while (!quiet) {
      sync::select(sync::on_receive(lines,
                                    [&](const Result<int>&) {
                                      ++events;
                                      idle.reset(1ms);  // nothing of the old time is left
                                    }),
                   sync::on_tick(idle, [&] { quiet = true; }));
    }

    const sync::FunctionTimer reminder = sync::after_func(1ms, [&reminded] { reminded = true; });
    if (!reminder.stop())  // false: it has been called, or is being called now
      (void)runtime::sleep_for(1ms);
    reminder.reset(0ns);
    while (!reminded) (void)runtime::sleep_for(1ms);
  });
  CHECK(flushed != 0);
  CHECK(events == 1);
  CHECK(quiet);
  CHECK(reminded);
}

TEST_CASE("docs/go-to-fiberd.md: contexts", "[integration][docs]") {
  static const context::Key<std::string> kUser("user");
  std::error_code late;
  std::error_code cause;
  std::string user;
  test::on_fibers([&] {
    const context::Context parent = context::with_value(context::background(), kUser, "gopher");
    const context::Cancelable request = context::with_timeout(parent, 1ms);
    const defer over([&request] { request.cancel(); });
    const context::Context& ctx = request.context;

    if (const std::string* const name = context::value(ctx, kUser)) user = *name;
    late = error_of(context::sleep(ctx, 1h));  // deadline_exceeded

    const context::Cancelable other = context::with_cancel(context::background());
    other.cancel(std::make_error_code(std::errc::connection_reset));
    cause = other.context.cause();
  });
  CHECK(late == context::errc::deadline_exceeded);
  CHECK(cause == std::errc::connection_reset);
  CHECK(user == "gopher");
}

TEST_CASE("docs/go-to-fiberd.md: errgroup", "[integration][docs]") {
  std::error_code first;
  std::vector<Page> pages(3);
  test::on_fibers([&] {
    const context::Context ctx = context::background();
    const std::vector<std::string> urls{"/a", "/b", ""};
    sync::ErrorGroup group(ctx);
    group.set_limit(2);
    for (std::size_t i = 0; i < urls.size(); ++i) {
      group.go("fetch", [&, i]() -> Result<void> {
        const Result<Page> page = fetch(group.context(), urls[i]);
        if (!page) return fail(page.error());  // cancels the others
        pages[i] = *page;
        return {};
      });
    }
    const Result<void> fetched = group.wait();
    first = error_of(fetched);
  });
  CHECK(first == std::errc::invalid_argument);
}

TEST_CASE("docs/go-to-fiberd.md: locks", "[integration][docs]") {
  std::map<std::string, int> stock;
  int seen = 0;
  test::on_fibers([&] {
    sync::Mutex mutex;
    {
      const std::lock_guard guard(mutex);
      ++stock["apples"];
    }

    sync::SharedMutex settings;
    {
      const std::shared_lock reading(settings);
      seen = stock["apples"];
    }

    sync::Condition changed;
    sync::WaitGroup group;
    const auto buyer = [&] {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return stock["pears"] != 0; });
      --stock["pears"];
    };
    if (!group.go("buyer", buyer)) return;
    {
      const std::lock_guard guard(mutex);
      stock["pears"] = 2;
    }
    changed.notify_all();
    group.wait();
  });
  CHECK(seen == 1);
  CHECK(stock["pears"] == 1);
}

TEST_CASE("docs/go-to-fiberd.md: once", "[integration][docs]") {
  int loads = 0;
  std::string color;
  test::on_fibers([&] {
    sync::OnceValue settings([&loads] {
      ++loads;
      return std::map<std::string, std::string>{{"color", "blue"}};
    });
    color = settings().at("color");  // loaded at the first use
    color = settings().at("color");  // kept
  });
  CHECK(loads == 1);
  CHECK(color == "blue");
}

TEST_CASE("docs/go-to-fiberd.md: maps, pools, atomic pointers", "[integration][docs]") {
  int n = 0;
  bool swapped = false;
  std::string seen;
  std::string version;
  test::on_fibers([&] {
    sync::ShardedMap<std::string, int> sessions;
    n = sessions.load_or_store("alice", [] { return 1; }).first;
    swapped = sessions.compare_and_swap("alice", 1, 2);
    n += sessions.load_and_erase("alice").value_or(0);

    sync::ObjectPool<std::string> buffers;
    {
      const auto buffer = buffers.get();  // goes back when it dies
      buffer->clear();
      buffer->append("hello");
      seen = *buffer;
    }

    sync::AtomicSnapshot<std::string> current(std::string("one"));
    current.update([](const std::string&) { return std::string("two"); });
    version = *current.read();
  });
  CHECK(n == 3);
  CHECK(swapped);
  CHECK(seen == "hello");
  CHECK(version == "two");
}

TEST_CASE("docs/go-to-fiberd.md: semaphores and rates", "[integration][docs]") {
  std::error_code error;
  bool limited = false;
  int logged = 0;
  test::on_fibers([&] {
    const context::Context ctx = context::background();
    sync::Semaphore slots(8);
    error = error_of(slots.acquire(ctx, 2));
    if (error) return;
    const defer back([&slots] { slots.release(2); });

    flow::TokenBucket limiter(flow::every(1ms), 5);
    error = error_of(limiter.wait(ctx));
    if (error) return;
    limited = !limiter.try_take(100);
    limiter.set_rate(2000);

    flow::Sometimes sometimes({.first = 2, .interval = 10s});
    for (int i = 0; i < 100; ++i) sometimes.run([&] { ++logged; });
  });
  CHECK_FALSE(error);
  CHECK(limited);
  CHECK(logged == 2);
}

TEST_CASE("docs/go-to-fiberd.md: singleflight", "[integration][docs]") {
  std::string text;
  test::on_fibers([&] {
    const context::Context ctx = context::background();
    const std::string url = "/a";
    sync::SingleFlight<std::string, Page> loads;
    const sync::Flight<Page> flight = loads.call(ctx, url, [url] { return fetch(context::background(), url); });
    if (flight.result) text = flight.result->text;  // flight.shared: somebody else got it, too
  });
  CHECK(text == "page of /a");
}

TEST_CASE("docs/go-to-fiberd.md: defer and recover", "[integration][docs]") {
  std::string order;
  std::string what;
  test::on_fibers([&] {
    const runtime::Recovered recovered = runtime::recover([&] {
      const defer last([&] { order += "deferred"; });
      order += "work ";
      throw std::runtime_error("on purpose");
    });
    if (recovered) what = recovered.what();
  });
  CHECK(order == "work deferred");
  CHECK(what.find("on purpose") != std::string::npos);
}

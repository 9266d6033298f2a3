// What dies while fibers wait for it, or while it is held: a BUG, said with its name and the place. Release builds
// count it and go on, others abort; so each case runs in a child of its own there.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "core/base/bug.hpp"
#include "core/base/log.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/simulation.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/condition.hpp"
#include "core/sync/error_group.hpp"
#include "core/sync/mutex.hpp"
#include "core/sync/once.hpp"
#include "core/sync/select.hpp"
#include "core/sync/semaphore.hpp"
#include "core/sync/shared_mutex.hpp"
#include "core/sync/wait_group.hpp"

using namespace fiberd;
using runtime::Simulation;

namespace {

std::string g_logged;

/// The BUGs that `body` ends with, as they are logged. The fibers it leaves waiting are a deadlock of the simulation.
std::string bugs_of(const std::function<void()>& body) {
  g_logged.clear();
  set_log_sink([](LogLevel, std::string_view line) noexcept { g_logged += std::string(line) + "\n"; });
#ifdef NDEBUG
  const std::uint64_t before = bug_count();
  (void)Simulation(1).run(body);
  set_log_sink(nullptr);
  const std::uint64_t counted = bug_count() - before;
  return counted == 0 ? "" : std::to_string(counted) + ": " + g_logged;
#else
  set_log_sink(nullptr);
  int out[2];
  if (::pipe(out) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    ::dup2(out[1], STDERR_FILENO);
    (void)::signal(SIGABRT, SIG_DFL);  // Catch's handler would tell of it as a failure of this test
    (void)Simulation(1).run(body);
    ::_exit(0);
  }
  ::close(out[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::read(out[0], buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(n));
  ::close(out[0]);
  int status = 0;
  (void)::waitpid(child, &status, 0);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? "1: " + text : "";
#endif
}

/// Destroys a T on which another fiber has begun `wait`.
template <class T, class Wait>
std::string dies_under(
    Wait wait, std::unique_ptr<T> (*make)() = [] { return std::make_unique<T>(); }) {
  return bugs_of([&] {
    auto owned = make();
    (void)runtime::spawn("waiter", [&wait, p = owned.get()] { wait(*p); });
    runtime::yield();
    owned.reset();
  });
}

bool tells(const std::string& bugs, const std::string& what) {
  return bugs.rfind("1: ", 0) == 0 && bugs.find("BUG: " + what) != std::string::npos;
}

}  // namespace

TEST_CASE("a primitive that dies while a fiber waits for it is a BUG", "[early_death]") {
  using sync::Channel;
  CHECK(tells(dies_under<Channel<int>>([](auto& c) { (void)c.receive(); }), "a channel died while fibers waited for"));
  CHECK(
      tells(dies_under<Channel<int>>([](auto& c) { (void)c.send(1); }), "a channel died while fibers waited to send"));
  CHECK(tells(dies_under<Channel<int>>([](auto& c) {
                sync::select(sync::on_receive(c, [](const Result<int>&) {}), sync::on_done(context::background()));
              }),
              "a channel died while fibers waited for a value"));
  CHECK(tells(dies_under<sync::Condition>([](auto& c) {
                static sync::Mutex mutex;
                std::unique_lock lock(mutex);
                c.wait(lock);
              }),
              "a condition died"));
  CHECK(tells(dies_under<sync::Semaphore>([](auto& s) { (void)s.acquire(2); },
                                          [] {
                                            auto s = std::make_unique<sync::Semaphore>(2);
                                            (void)s->acquire();
                                            return s;
                                          }),
              "a semaphore died"));
  CHECK(tells(dies_under<sync::WaitGroup>([](auto& g) { g.wait(); },
                                          [] {
                                            auto g = std::make_unique<sync::WaitGroup>();
                                            g->add();
                                            return g;
                                          }),
              "a wait group died"));
  CHECK(tells(dies_under<sync::SharedMutex>([](auto& m) {
                m.lock();
                runtime::park(runtime::prepare_park(runtime::WaitReason::test));
              }),
              "a shared mutex died while it was locked"));
  CHECK(tells(dies_under<sync::Once>(
                  [](auto& o) { o.call([] { runtime::park(runtime::prepare_park(runtime::WaitReason::test)); }); }),
              "a once died"));
}

TEST_CASE("a mutex that dies locked is a BUG", "[early_death]") {
  CHECK(tells(bugs_of([] {
                sync::Mutex mutex;
                mutex.lock();
              }),
              "a mutex died while it was locked"));
  CHECK(tells(bugs_of([] {
                sync::SharedMutex mutex;
                mutex.lock_shared();
              }),
              "a shared mutex died while it was locked"));
}

TEST_CASE("the BUG says which fiber did it, and where", "[early_death]") {
  const std::string bugs = dies_under<sync::WaitGroup>([](auto& g) { g.wait(); },
                                                       [] {
                                                         auto g = std::make_unique<sync::WaitGroup>();
                                                         g->add();
                                                         return g;
                                                       });
  INFO(bugs);
  CHECK(bugs.find("fiber 1 \"main\"") != std::string::npos);
  CHECK(bugs.find("report_early_death") != std::string::npos);
}

TEST_CASE("what has been used and is at rest dies quietly, and so does what a simulated deadlock left behind",
          "[early_death]") {
  CHECK(bugs_of([] {
          sync::Mutex mutex;
          sync::SharedMutex shared;
          sync::Condition changed;
          sync::Semaphore slots(1);
          sync::WaitGroup group;
          sync::Channel<int> channel;
          sync::Once once;
          const auto stop = context::with_cancel(context::background());
          int done = 0;
          sync::WaitGroup all;
          (void)slots.acquire();
          mutex.lock();
          shared.lock();
          group.add();
          const auto waits = [&](auto wait) { (void)all.go("waits", [&, wait] { done += wait() ? 0 : 1; }); };
          waits([&] { return mutex.lock(stop.context); });
          waits([&] { return shared.lock(stop.context); });
          waits([&] { return shared.lock_shared(stop.context); });
          waits([&] { return slots.acquire(stop.context); });
          waits([&] { return group.wait(stop.context); });
          waits([&] { return channel.receive(stop.context).has_value(); });
          waits([&] {
            std::error_code error;
            sync::select(sync::on_receive(channel, [](const Result<int>&) {}),
                         sync::on_done(stop.context, [&](std::error_code e) { error = e; }));
            return !error;
          });
          once.call([] { runtime::yield(); });
          for (int i = 0; i < 20; ++i) runtime::yield();
          stop.cancel();
          all.wait();
          if (done != 7) report_bug("not all gave up");
          mutex.unlock();
          shared.unlock();
        }) == "");
  // Its fibers are gone with their simulation.
  const std::uint64_t before = bug_count();
  {
    sync::Channel<int> channel;
    sync::Mutex mutex;
    sync::WaitGroup group;
    group.add();
    const auto outcome = Simulation(1).run([&] {
      (void)runtime::spawn("receiver", [&] { (void)channel.receive(); });
      (void)runtime::spawn("locker", [&] {
        mutex.lock();
        group.wait();
      });
      mutex.lock();
      mutex.lock();
    });
    CHECK(outcome.deadlock);
  }
  CHECK(bug_count() == before);
}

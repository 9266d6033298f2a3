// Every interleaving of callers, workers and the end of a WorkerPool: its own decisions (core/flow/pool_state.hpp), and
// around them what worker_pool.cpp does. Each hold of the pool's lock is a step, and so is each wait's end; the pool
// dies as soon as its shutdown is over, and from then on every touch of the lock is a failure.
#include <catch2/catch.hpp>

#include <array>
#include <optional>
#include <string>

#include "core/flow/pool_state.hpp"
#include "tests/model/sync_parts.hpp"

using namespace fiberd;
using flow::detail::BasicPoolState;
using flow::detail::JobStage;
using flow::detail::PoolBounds;
using model::Atomic;
using model::World;
using runtime::Wake;

namespace {

constexpr unsigned kMany = 4;  // jobs; each has its caller, its worker to be born, and rounds of waits

/// The waits that one fiber goes through, in order.
struct Waits {
  std::array<model::Wait, kMany> rounds;
  std::size_t begun = 0;
  model::Wait* begin() {
    if (begun == kMany) model::fail("waits without end");
    return &rounds[begun++ % kMany];
  }
};

struct Parts {
  using Ticket = model::Wait*;
  struct Job : ListHook {
    JobStage stage = JobStage::outside;
    bool stays = false;  // its caller comes back for its end
    bool done = false;
    Ticket ticket = nullptr;
    int runs = 0;
    int refusals = 0;
    int given_up = 0;
  };
  struct Worker : ListHook {
    Job* job = nullptr;
    Ticket ticket = nullptr;
    Waits waits;
    void begin() { ticket = waits.begin(); }
  };
  struct Submitter : ListHook {
    Job* job = nullptr;
    Ticket ticket = nullptr;
    bool refused = false;
    Waits waits;
    void begin() { ticket = waits.begin(); }
  };
  struct Ended : ListHook {
    Ticket ticket = nullptr;
    model::Wait wait;
    void begin() { ticket = &wait; }
  };
  /// Of those who wait for the end only the ticket is kept; that a chained waiter stays until it was passed is the wait
  /// group's model.
  struct Chain {
    std::array<Ticket, 2> tickets{};
    std::size_t n = 0;
    void add(Ended& e) { tickets[n++] = e.ticket; }
    void wake() {
      for (std::size_t i = 0; i < n; ++i) tickets[i]->end(Wake::ready);
    }
  };
};

using Real = BasicPoolState<Parts>;
using Job = Parts::Job;

/// Around the state: what WorkerPool does.
template <class State>
struct Pool {
  using Given = typename State::Given;
  using Next = typename State::Next;
  using Refused = typename State::Refused;

  model::Lock lock;
  std::optional<State> state;
  std::array<Job, kMany> jobs;
  std::array<Parts::Submitter, kMany> submitters;  // they stand on the fibers' stacks, as what follows
  std::array<Parts::Worker, kMany> workers;
  std::array<Atomic<Job*>, kMany> births;  // worker i is born with this job
  std::array<Waits, kMany> awaits;
  Parts::Ended closer;

  void wake(Parts::Ticket ticket) {
    if (ticket != nullptr) ticket->end(Wake::ready);
  }

  // ---- callers: number i has job i, and its worker, if one is needed, is worker i

  Given give(unsigned i, bool waits_for_room, bool stays) {
    Parts::Ticket ticket = nullptr;
    jobs[i].stays = stays;
    lock.lock();
    const Given given = state->give(jobs[i], waits_for_room ? &submitters[i] : nullptr, stays, ticket);
    lock.unlock();
    wake(ticket);
    return given;
  }
  /// What follows give(). `spawns`: a fiber is to be had for a worker.
  void go_on(unsigned i, Given given, bool spawns) {
    Job& job = jobs[i];
    bool taken = given == Given::yes;
    if (given == Given::closed || given == Given::no_room) ++job.refusals;
    if (given == Given::waits) taken = wait_for_room(i);
    if (given == Given::needs_worker) taken = start_worker(i, spawns);
    if (taken && job.stays) await(i);
  }
  bool wait_for_room(unsigned i) {
    Parts::Submitter& me = submitters[i];
    (void)me.ticket->park();
    Parts::Chain ended;
    lock.lock();
    const bool taken = state->was_taken(me, jobs[i].stays, ended);
    lock.unlock();
    if (!taken) ++jobs[i].given_up;
    if (taken && me.refused) ++jobs[i].refusals;
    ended.wake();
    return taken && !me.refused;
  }
  bool start_worker(unsigned i, bool spawns) {
    Job& job = jobs[i];
    if (spawns) {
      births[i].store(&job);
      return true;
    }
    Parts::Ticket ticket = nullptr;
    lock.lock();
    const bool given = state->not_born(job, job.stays, ticket);
    lock.unlock();
    wake(ticket);
    if (given) return true;
    for (Refused orphan{};;) {
      ticket = nullptr;
      lock.lock();
      orphan = state->refuse_orphan(true, ticket);
      lock.unlock();
      if (!settle(orphan, ticket)) break;
    }
    Parts::Chain ended;
    ++job.refusals;
    lock.lock();
    state->leave(ended);
    lock.unlock();
    ended.wake();
    return false;
  }
  bool settle(const Refused& who, Parts::Ticket ticket) {
    if (who.submitter == nullptr && who.job == nullptr) return false;
    wake(ticket);
    if (who.job != nullptr) {
      ++who.job->refusals;
      finish(*who.job);
    }
    return true;
  }
  void await(unsigned i) {
    Job& job = jobs[i];
    Parts::Chain ended;
    for (;;) {
      lock.lock();
      if (job.done) {
        state->leave(ended);
        lock.unlock();
        break;
      }
      const bool waits = job.stage == JobStage::queued;
      model::Wait* const wait = job.ticket = awaits[i].begin();
      lock.unlock();
      if (wait->park() == Wake::ready || !waits) continue;
      Parts::Ticket ticket = nullptr;
      lock.lock();
      const bool back = state->take_back(job, ticket, ended);
      lock.unlock();
      if (!back) continue;
      ++job.given_up;
      wake(ticket);
      break;
    }
    ended.wake();
  }

  // ---- workers

  void finish(Job& job) {
    if (!job.stays) return;
    lock.lock();
    job.done = true;
    Parts::Ticket const ticket = job.ticket;
    lock.unlock();
    wake(ticket);
  }
  void worker(unsigned i) {
    Job* job = births[i].wait_while(nullptr);
    lock.lock();
    state->born();
    lock.unlock();
    Parts::Worker& me = workers[i];
    Parts::Chain ended;
    for (auto next = Next::work; next != Next::end;) {
      if (next == Next::work) {
        ++job->runs;
        finish(*job);
      } else {
        (void)me.ticket->park();
      }
      Parts::Ticket ticket = nullptr;
      lock.lock();
      next = next == Next::work ? state->next(me, job, ticket, ended) : state->woken(me, job, ticket, ended);
      lock.unlock();
      wake(ticket);
    }
    if constexpr (requires { state->in_another_hold(ended); }) {
      lock.lock();
      state->in_another_hold(ended);
      lock.unlock();
    }
    ended.wake();
  }

  // ---- the end

  void shutdown(bool drop) {
    lock.lock();
    state->close();
    lock.unlock();
    Parts::Ticket ticket = nullptr;
    for (Refused one{};;) {
      ticket = nullptr;
      lock.lock();
      one = state->refuse(drop, true, ticket);
      lock.unlock();
      if (!settle(one, ticket)) break;
    }
    for (bool more = true; more;) {
      lock.lock();
      more = state->wake_idle(ticket);
      lock.unlock();
      if (more) wake(ticket);
    }
    lock.lock();
    const bool quiet = state->quiet_or_wait(closer);
    lock.unlock();
    if (!quiet) (void)closer.wait.park();
    lock.destroy();
  }

  /// Each of the first `n` jobs has one end.
  std::string ends(unsigned n) {
    for (unsigned i = 0; i < n; ++i) {
      const Job& job = jobs[i];
      const std::string who = "job " + std::to_string(i);
      if (job.runs + job.refusals + job.given_up > 1) return who + " has more than one end";
      if (job.runs + job.refusals + job.given_up == 0) return who + " is stranded";
    }
    return state->queued() == 0 && state->waiting() == 0 ? "" : "somebody is left in the pool";
  }
};

/// The pool when worker 0 is about to be born with job 0.
template <class State>
Pool<State>& make_pool(World& w, PoolBounds bounds, bool stays = false) {
  auto& p = w.make<Pool<State>>();
  p.state.emplace(bounds);
  (void)p.give(0, false, stays);
  p.births[0].store(&p.jobs[0]);
  return p;
}

/// A worker's idle time runs out while `callers` come with jobs.
template <class State>
void idle_time_runs_out(World& w, PoolBounds bounds, unsigned callers, bool stays) {
  auto& p = make_pool<State>(w, bounds);
  w.thread("worker", [&p] { p.worker(0); });
  w.thread("time", [&p] { p.workers[0].waits.rounds[0].end(Wake::timeout); });
  for (unsigned i = 1; i <= callers; ++i) {
    w.thread("caller", [&p, i, stays] { p.go_on(i, p.give(i, true, stays), true); });
    w.thread("new worker", [&p, i] { p.worker(i); });
  }
  w.may_hang();  // idle workers, and those who are never born
  w.finally([&p, callers] { return p.ends(1 + callers); });
}

/// The pool is shut down and dies while its one worker works, job 1 is queued, job 2 waits for room (each with a caller
/// that stays for its end), and perhaps one of the two gives up.
template <class State>
void shut_down_and_destroyed(World& w, unsigned callers, bool drop, unsigned gives_up) {
  auto& p = make_pool<State>(w, {.least = 0, .most = 1, .queue = 1});
  w.thread("worker", [&p] { p.worker(0); });
  for (unsigned i = 1; i <= callers; ++i) {
    const auto given = p.give(i, true, true);  // before the shutdown: who comes later would come to a pool that is gone
    w.thread("caller", [&p, i, given] { p.go_on(i, given, true); });
  }
  if (gives_up != 0)
    w.thread("canceler", [&p, gives_up] {
      if (gives_up == 1) p.awaits[1].rounds[0].end(Wake::canceled);
      if (gives_up == 2) p.submitters[2].waits.rounds[0].end(Wake::canceled);
    });
  w.thread("closer", [&p, drop] { p.shutdown(drop); });
  w.finally([&p, callers] { return p.ends(1 + callers); });
}

/// The same with a worker that idles, whose time may run out.
template <class State>
void shut_down_while_idle(World& w) {
  auto& p = make_pool<State>(w, {.least = 0, .most = 1, .queue = 1}, true);
  w.thread("worker", [&p] { p.worker(0); });
  w.thread("caller", [&p] { p.await(0); });
  w.thread("time", [&p] { p.workers[0].waits.rounds[0].end(Wake::timeout); });
  w.thread("closer", [&p] { p.shutdown(false); });
  w.finally([&p] { return p.ends(1); });
}

/// No fiber is to be had for worker 0, on which others already count.
template <class State>
void not_born(World& w, PoolBounds bounds, unsigned others, bool closes) {
  auto& p = w.make<Pool<State>>();
  p.state.emplace(bounds);
  const auto first = p.give(0, false, true);
  w.thread("caller", [&p, first] { p.go_on(0, first, false); });
  for (unsigned i = 1; i <= others; ++i) {
    if (closes) {
      const auto given = p.give(i, true, true);
      w.thread("another", [&p, i, given] { p.go_on(i, given, true); });
    } else {
      w.thread("another", [&p, i] { p.go_on(i, p.give(i, true, true), true); });
    }
    w.thread("new worker", [&p, i] { p.worker(i); });
  }
  if (closes) w.thread("closer", [&p] { p.shutdown(false); });
  w.may_hang();
  w.finally([&p, others] { return p.ends(1 + others); });
}

/// Mistakes, one each. The first two are what the pool once did.

/// Decides in one hold to end, and counts itself out in the next.
struct CountsOutLater : Real {
  using Real::Real;
  Next next(Parts::Worker& me, Job*& job, Parts::Ticket& wake, Parts::Chain& ended) {
    if (queue_.empty() && submitters_.empty() && closed_) return Next::end;
    return Real::next(me, job, wake, ended);
  }
  Next woken(Parts::Worker& me, Job*& job, Parts::Ticket& wake, Parts::Chain& ended) {
    if (me.linked()) {
      List<Parts::Worker>::remove(me);
      --idle_count_;
      if (workers_ > bounds_.least) return Next::end;
    } else if ((job = me.job) != nullptr) {
      return Next::work;
    }
    return next(me, job, wake, ended);
  }
  void in_another_hold(Parts::Chain& ended) { (void)Real::end(ended); }
};
/// Counts itself out in one hold, and looks in the next whether it was the last.
struct LooksAgain : Real {
  using Real::Real;
  void in_another_hold(Parts::Chain& ended) { Real::collect(ended); }
};
/// Who will take the lock again is not counted.
struct ForgetsCallers : Real {
  using Real::Real;
  Given give(Job& job, Parts::Submitter* submitter, bool stays, Parts::Ticket& wake) {
    const Given given = Real::give(job, submitter, stays, wake);
    callers_ = 0;
    return given;
  }
  bool was_taken(Parts::Submitter& submitter, bool stays, Parts::Chain& ended) {
    callers_ = 1;
    const bool taken = Real::was_taken(submitter, stays, ended);
    callers_ = 0;
    return taken;
  }
  void leave(Parts::Chain& ended) {
    callers_ = 1;
    Real::leave(ended);
  }
};
struct ForgetsOrphans : Real {
  using Real::Real;
  Refused refuse_orphan(bool, Parts::Ticket&) { return {}; }
};

void expect_good(const model::Outcome& o) {
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
  CHECK(o.executions >= 10);
}

constexpr PoolBounds kOne{.least = 0, .most = 1, .queue = 1};
constexpr PoolBounds kTwo{.least = 0, .most = 2, .queue = 0};

}  // namespace

TEST_CASE("worker pool: an idle worker's time runs out while jobs come", "[model][worker_pool]") {
  expect_good(model::explore({}, [](World& w) { idle_time_runs_out<Real>(w, kOne, 1, false); }));
  expect_good(model::explore({}, [](World& w) { idle_time_runs_out<Real>(w, kTwo, 1, true); }));
  expect_good(model::explore({.preemptions = 2}, [](World& w) { idle_time_runs_out<Real>(w, kOne, 2, true); }));
}

TEST_CASE("worker pool: shut down and destroyed at once", "[model][worker_pool]") {
  expect_good(model::explore({}, [](World& w) { shut_down_and_destroyed<Real>(w, 0, false, 0); }));
  expect_good(model::explore({}, [](World& w) { shut_down_while_idle<Real>(w); }));
  for (const bool drop : {false, true}) {
    expect_good(model::explore({}, [drop](World& w) { shut_down_and_destroyed<Real>(w, 1, drop, 0); }));
    for (const unsigned gives_up : {1U, 2U})
      expect_good(model::explore({.preemptions = 2},
                                 [drop, gives_up](World& w) { shut_down_and_destroyed<Real>(w, 2, drop, gives_up); }));
  }
}

TEST_CASE("worker pool: no fiber for a worker on which others count", "[model][worker_pool]") {
  expect_good(model::explore({}, [](World& w) { not_born<Real>(w, kOne, 1, false); }));
  expect_good(model::explore({}, [](World& w) { not_born<Real>(w, kOne, 1, true); }));
  expect_good(model::explore({.preemptions = 2}, [](World& w) { not_born<Real>(w, kOne, 2, true); }));
}

TEST_CASE("worker pool: the explorer catches the mistakes it is there for", "[model][worker_pool][teeth]") {
  const auto stranded = model::explore({}, [](World& w) { idle_time_runs_out<CountsOutLater>(w, kOne, 1, false); });
  CHECK(stranded.failed);
  CHECK(stranded.report.find("stranded") != std::string::npos);
  const auto used_after = model::explore({}, [](World& w) { shut_down_and_destroyed<LooksAgain>(w, 0, false, 0); });
  CHECK(used_after.failed);
  CHECK(used_after.report.find("a dead lock was touched") != std::string::npos);
  CHECK(model::explore({}, [](World& w) { shut_down_and_destroyed<ForgetsCallers>(w, 1, true, 0); }).failed);
  CHECK(model::explore({}, [](World& w) { not_born<ForgetsOrphans>(w, kOne, 1, false); }).failed);
}

#pragma once
// PoolState: who is where in a WorkerPool, and every step by which that changes. worker_pool.hpp tells the whole; the
// lock, the parking, the waking and the running of jobs are WorkerPool's.
//
// Each function is one hold of the pool's lock: it decides, counts and collects whom to wake, and nothing is left to be
// decided or counted in a later hold. Two faults taught that. A worker that decides in one hold to end and counts
// itself out in the next is taken, in between, for one that will come to the queue: a job is accepted that nobody
// serves. And who counts itself out in one hold and takes the lock once more, to look whether it was the last, finds
// the pool destroyed: the shutdown that it was the last one for was over when it was counted.
//
// So the pool may go when `quiet()`, and that becomes true in the hold that is the last touch of whoever makes it true:
// of the last worker, or of the last caller. Callers are counted, too, from the hold in which they put something into
// the pool to that in which they take back what has become of it: a shutdown that refuses a waiter must not return
// before that one has looked.
//
// Parts names the types, so that tests/model can visit every interleaving of this very code:
//   Ticket     names a wait; false when empty
//   Job        in one List; stage
//   Worker     in one List; job, ticket; begin() begins its wait
//   Submitter  in one List; job, ticket; begin(); refused: true once whoever took it out has refused it
//   Ended      in one List: who waits until all is quiet
//   Chain      add(Ended&): to be woken after the hold
#include <algorithm>
#include <cstdint>

#include "core/base/intrusive_list.hpp"

namespace fiberd::flow::detail {

struct PoolBounds {
  std::uint32_t least = 0;
  std::uint32_t most = 1;
  std::uint32_t queue = 0;
};

enum class JobStage : std::uint8_t { outside, queued, taken };

template <class Parts>
class BasicPoolState {
 public:
  using Ticket = typename Parts::Ticket;
  using Job = typename Parts::Job;
  using Worker = typename Parts::Worker;
  using Submitter = typename Parts::Submitter;
  using Ended = typename Parts::Ended;
  using Chain = typename Parts::Chain;
  using Why = decltype(Submitter::refused);

  enum class Given : std::uint8_t { yes, needs_worker, waits, no_room, closed };
  enum class Next : std::uint8_t { work, idle, end };

  explicit BasicPoolState(PoolBounds bounds) noexcept
      : bounds_{std::min(bounds.least, std::max(bounds.most, 1U)), std::max(bounds.most, 1U), bounds.queue} {}

  // ------------------------------------------------------------------------------------------- callers

  /// Where a new job goes. `submitter`: hung up where there is no room. `stays`: its caller comes back for its end; it
  /// and a submitter are counted until leave(). `wake` is to be woken. needs_worker: not_born() or born() follows.
  [[nodiscard]] Given give(Job& job, Submitter* submitter, bool stays, Ticket& wake) noexcept {
    Given given = place(job, true, wake);
    if (given == Given::no_room && submitter != nullptr) {
      submitter->job = &job;
      submitter->begin();
      submitters_.push_back(*submitter);
      ++waiting_;
      given = Given::waits;
    }
    if (given == Given::waits || (stays && (given == Given::yes || given == Given::needs_worker))) ++callers_;
    return given;
  }
  /// There was no fiber for the worker that `job` needed. True: those who run already will come to it. False: it is its
  /// caller's again, who is counted until leave() and must refuse_orphan() until there is none.
  [[nodiscard]] bool not_born(Job& job, bool stays, Ticket& wake) noexcept {
    --workers_;
    job.stage = JobStage::outside;
    const bool given = running_ != 0 && place(job, false, wake) == Given::yes;
    if (!given && !stays) ++callers_;
    return given;
  }
  /// Of who waits for room, after its wait. True: it was taken in, or refused, by somebody else. False: it has given
  /// up. Not counted any more, unless its job was taken in and it `stays`.
  [[nodiscard]] bool was_taken(Submitter& submitter, bool stays, Chain& ended) noexcept {
    const bool taken = !submitter.linked();
    if (!taken) {
      List<Submitter>::remove(submitter);
      --waiting_;
    }
    // Who is refused has nothing to come back for.
    if (!taken || !stays || submitter.refused) leave(ended);
    return taken;
  }
  /// A job's caller gives up. False: too late, it is taken. True: it is out of the queue, and its caller not counted.
  [[nodiscard]] bool take_back(Job& job, Ticket& wake, Chain& ended) noexcept {
    if (job.stage != JobStage::queued) return false;
    take_from_queue(job, wake);
    leave(ended);
    return true;
  }
  void leave(Chain& ended) noexcept {
    --callers_;
    collect(ended);
  }
  /// The first who waits for room is refused; else, with `jobs`, the first of the queue is to be. Both may be nullptr;
  /// a submitter is gone as soon as it is woken.
  struct Refused {
    Submitter* submitter = nullptr;
    Job* job = nullptr;
  };
  [[nodiscard]] Refused refuse(bool jobs, Why why, Ticket& wake) noexcept {
    Refused refused;
    if ((refused.submitter = pop_submitter()) != nullptr) {
      refused.submitter->refused = why;
      wake = refused.submitter->ticket;
    } else if (jobs && (refused.job = queue_.front()) != nullptr) {
      take_from_queue(*refused.job, wake);
    }
    return refused;
  }
  /// The same, while nobody will come for what is queued.
  [[nodiscard]] Refused refuse_orphan(Why why, Ticket& wake) noexcept {
    return workers_ == 0 ? refuse(true, why, wake) : Refused{};
  }

  // ------------------------------------------------------------------------------------------- workers

  void born() noexcept { ++running_; }
  /// What a worker does after its job. work: `job`; idle: `me` is hung up, to be woken; end: it is counted out, and
  /// touches nothing of the pool any more.
  [[nodiscard]] Next next(Worker& me, Job*& job, Ticket& wake, Chain& ended) noexcept {
    if ((job = queue_.front()) != nullptr) {
      take_from_queue(*job, wake);
      return Next::work;
    }
    if (Submitter* const s = pop_submitter()) {
      job = s->job;
      job->stage = JobStage::taken;
      wake = s->ticket;
      return Next::work;
    }
    if (closed_) return end(ended);
    me.job = nullptr;
    me.begin();
    idle_.push_front(me);
    ++idle_count_;
    return Next::idle;
  }
  /// The same after its idle wait. It ends by itself if it was not woken and there are more than `least`.
  [[nodiscard]] Next woken(Worker& me, Job*& job, Ticket& wake, Chain& ended) noexcept {
    if (me.linked()) {
      List<Worker>::remove(me);
      --idle_count_;
      // Nothing is queued, or it would not have been left idle.
      if (workers_ > bounds_.least) return end(ended);
    } else if ((job = me.job) != nullptr) {
      return Next::work;
    }
    return next(me, job, wake, ended);
  }
  /// Whether one that idles now may end.
  [[nodiscard]] bool more_than_least() const noexcept { return workers_ > bounds_.least; }

  // ------------------------------------------------------------------------------------------- the end

  void close() noexcept { closed_ = true; }
  /// An idle worker to be woken, so that it sees the pool closed; false: there is none.
  [[nodiscard]] bool wake_idle(Ticket& wake) noexcept {
    Worker* const w = pop_idle();
    if (w == nullptr) return false;
    wake = w->ticket;
    return true;
  }
  /// True: all is over. False: `me`, whose wait has begun, is woken when it is.
  [[nodiscard]] bool quiet_or_wait(Ended& me) noexcept {
    if (quiet()) return true;
    me.begin();
    ended_.push_back(me);
    return false;
  }
  [[nodiscard]] bool quiet() const noexcept { return workers_ == 0 && callers_ == 0; }

  // ------------------------------------------------------------------------------------------- looks

  [[nodiscard]] bool closed() const noexcept { return closed_; }
  [[nodiscard]] std::uint32_t workers() const noexcept { return workers_; }
  [[nodiscard]] std::uint32_t idle() const noexcept { return idle_count_; }
  [[nodiscard]] std::uint32_t queued() const noexcept { return queued_; }
  [[nodiscard]] std::uint32_t waiting() const noexcept { return waiting_; }
  [[nodiscard]] bool has_worker() const noexcept { return idle_count_ != 0 || workers_ < bounds_.most; }
  /// Nobody who waits for room is overtaken.
  [[nodiscard]] bool has_room() const noexcept { return queued_ < bounds_.queue && submitters_.empty(); }

 protected:  // for tests/model, which makes the mistakes that this class is there to avoid
  [[nodiscard]] Given place(Job& job, bool may_start_worker, Ticket& wake) noexcept {
    if (closed_) return Given::closed;
    if (Worker* const w = pop_idle()) {
      job.stage = JobStage::taken;
      w->job = &job;
      wake = w->ticket;
      return Given::yes;
    }
    if (may_start_worker && workers_ < bounds_.most) {
      ++workers_;
      job.stage = JobStage::taken;
      return Given::needs_worker;
    }
    if (!has_room()) return Given::no_room;
    enqueue(job);
    return Given::yes;
  }
  void enqueue(Job& job) noexcept {
    job.stage = JobStage::queued;
    queue_.push_back(job);
    ++queued_;
  }
  /// For whatever end; the first who waits for room gets its place and is to be woken.
  void take_from_queue(Job& job, Ticket& wake) noexcept {
    List<Job>::remove(job);
    job.stage = JobStage::taken;
    --queued_;
    Submitter* const s = closed_ ? nullptr : pop_submitter();
    if (s == nullptr) return;
    enqueue(*s->job);
    wake = s->ticket;
  }
  [[nodiscard]] Submitter* pop_submitter() noexcept {
    Submitter* const s = submitters_.pop_front();
    if (s != nullptr) --waiting_;
    return s;
  }
  [[nodiscard]] Worker* pop_idle() noexcept {
    Worker* const w = idle_.pop_front();
    if (w != nullptr) --idle_count_;
    return w;
  }
  [[nodiscard]] Next end(Chain& ended) noexcept {
    --running_;
    --workers_;
    collect(ended);
    return Next::end;
  }
  /// Those who wait for the end, if this is it.
  void collect(Chain& ended) noexcept {
    if (!closed_ || !quiet()) return;
    while (Ended* const e = ended_.pop_front()) ended.add(*e);
  }

  const PoolBounds bounds_;
  List<Job> queue_;
  List<Worker> idle_;
  List<Submitter> submitters_;
  List<Ended> ended_;
  std::uint32_t queued_ = 0;
  std::uint32_t waiting_ = 0;  // submitters
  std::uint32_t workers_ = 0;  // and those who are about to be born
  std::uint32_t running_ = 0;  // only those who are
  std::uint32_t idle_count_ = 0;
  std::uint32_t callers_ = 0;  // who will take the lock again
  bool closed_ = false;
};

}  // namespace fiberd::flow::detail

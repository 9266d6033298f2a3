#pragma once
// BlockingPool: threads for what cannot be done without blocking a thread (open(2), stat(2), cold file reads, a foreign
// library). They run no fibers. How to use it from a fiber: blocking.hpp.
//
// A job is an intrusive node owned by whoever submits it: on the stack of a fiber that waits for it, or on the heap
// when the fiber may give up. The queue has no bound of its own: each job in it belongs to one fiber that waits, or
// waited. Threads start when a job finds none idle, up to the maximum; the one that was idle for the shortest time gets
// the next job, so that the others can reach their 10 s without work and end.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <system_error>

#include "core/base/intrusive_list.hpp"

namespace fiberd::runtime {

class BlockingPool {
 public:
  struct Job : ListHook {
    /// Called once on a pool thread; must not throw. The job may be gone when it returns: the pool does not touch it.
    void (*run)(Job& job) noexcept = nullptr;
  };
  struct Stats {
    std::uint64_t threads = 0;  ///< alive
    std::uint64_t busy = 0;     ///< of these, running a job
    std::uint64_t queued = 0;   ///< jobs not started
    std::uint64_t jobs = 0;     ///< jobs started since the beginning
  };

  /// `max_threads` ≥ 1. `run_inline`: submit() runs each job at once in its caller (simulation). `idle_limit`: how long
  /// a thread lives without work.
  explicit BlockingPool(unsigned max_threads, bool run_inline = false,
                        std::chrono::nanoseconds idle_limit = std::chrono::seconds(10)) noexcept;
  /// Waits until the running jobs end. No job may be queued any more, except ones given up: their owners withdrew them.
  ~BlockingPool();
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  /// Queues the job. Where no thread can be started the job waits for one that exists; when there is none at all the
  /// job is not taken and the error is resource_unavailable_try_again. Thread-safe; never parks.
  [[nodiscard]] std::error_code submit(Job& job) noexcept;
  /// Takes a job back that has not started: true, and run() will not be called. Thread-safe; never parks.
  [[nodiscard]] bool withdraw(Job& job) noexcept;

  [[nodiscard]] Stats stats() const noexcept;
  [[nodiscard]] bool runs_inline() const noexcept { return inline_; }

 private:
  struct Worker;
  static void* thread_main(void* worker);
  void work(Worker& self);
  [[nodiscard]] int start_thread() noexcept;
  void reap_ended(std::unique_lock<std::mutex>& held) noexcept;

  const unsigned max_threads_;
  const bool inline_;
  const std::chrono::nanoseconds idle_limit_;
  mutable std::mutex mutex_;
  std::condition_variable all_ended_;
  List<Job> queue_;
  Worker* idle_ = nullptr;   // the latest first
  Worker* ended_ = nullptr;  // to be joined
  unsigned threads_ = 0;
  unsigned busy_ = 0;
  std::uint64_t queued_ = 0;
  std::atomic<std::uint64_t> jobs_{0};
  bool stopping_ = false;
};

/// The pool of the runtime that the caller's fiber belongs to.
[[nodiscard]] BlockingPool& current_blocking_pool() noexcept;

}  // namespace fiberd::runtime

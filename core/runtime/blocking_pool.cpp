#include "core/runtime/blocking_pool.hpp"

#include <pthread.h>
#include <signal.h>

#include <new>

#include "core/base/bug.hpp"
#include "core/base/quiet_thread.hpp"

namespace fiberd::runtime {

struct BlockingPool::Worker {
  explicit Worker(BlockingPool& p) noexcept : pool(p) {}
  BlockingPool& pool;
  pthread_t thread{};
  std::condition_variable wakeup;
  bool called = false;  // taken off the idle list by somebody who wants it to look at the queue
  Worker* next = nullptr;
};

BlockingPool::BlockingPool(unsigned max_threads, bool run_inline, std::chrono::nanoseconds idle_limit) noexcept
    : max_threads_(max_threads == 0 ? 1 : max_threads), inline_(run_inline), idle_limit_(idle_limit) {}

BlockingPool::~BlockingPool() {
  std::unique_lock held(mutex_);
  (void)FIBERD_BUG_IF(!queue_.empty());
  stopping_ = true;
  for (; idle_ != nullptr; idle_ = idle_->next) {
    idle_->called = true;
    idle_->wakeup.notify_one();
  }
  while (threads_ != 0) all_ended_.wait(held);
  reap_ended(held);
}

// Both with the lock held. Joining takes the time of a thread's last instructions: it has left all locks behind it.
void BlockingPool::reap_ended(std::unique_lock<std::mutex>& held) noexcept {
  while (Worker* const w = ended_) {
    ended_ = w->next;
    held.unlock();
    pthread_join(w->thread, nullptr);
    delete w;
    held.lock();
  }
}

int BlockingPool::start_thread() noexcept {
  auto* const worker = new (std::nothrow) Worker(*this);
  if (worker == nullptr) return ENOMEM;
  const int error = create_quiet_thread(worker->thread, &BlockingPool::thread_main, worker);
  if (error != 0) {
    delete worker;
    return error;
  }
  ++threads_;
  ++busy_;  // until it has looked at the queue
  return 0;
}

std::error_code BlockingPool::submit(Job& job) noexcept {
  if (inline_) {
    jobs_.fetch_add(1, std::memory_order_relaxed);
    job.run(job);
    return {};
  }
  std::unique_lock held(mutex_);
  if (ended_ != nullptr) reap_ended(held);
  queue_.push_back(job);
  ++queued_;
  if (Worker* const w = idle_) {
    idle_ = w->next;
    w->called = true;
    ++busy_;
    w->wakeup.notify_one();
    return {};
  }
  if (threads_ < max_threads_ && start_thread() != 0 && threads_ == 0) {
    List<Job>::remove(job);
    --queued_;
    return std::make_error_code(std::errc::resource_unavailable_try_again);
  }
  return {};
}

bool BlockingPool::withdraw(Job& job) noexcept {
  if (inline_) return false;
  const std::lock_guard held(mutex_);
  if (!job.linked()) return false;
  List<Job>::remove(job);
  --queued_;
  return true;
}

BlockingPool::Stats BlockingPool::stats() const noexcept {
  const std::lock_guard held(mutex_);
  return {threads_, busy_, queued_, jobs_.load(std::memory_order_relaxed)};
}

void* BlockingPool::thread_main(void* worker) {
  auto& self = *static_cast<Worker*>(worker);
  pthread_setname_np(pthread_self(), "fiberd-blocking");
  self.pool.work(self);
  return nullptr;
}

void BlockingPool::work(Worker& self) {
  std::unique_lock held(mutex_);
  for (;;) {
    while (Job* const job = queue_.pop_front()) {
      --queued_;
      jobs_.fetch_add(1, std::memory_order_relaxed);
      held.unlock();
      job->run(*job);
      held.lock();
    }
    --busy_;
    if (stopping_) break;
    self.called = false;
    self.next = idle_;
    idle_ = &self;
    self.wakeup.wait_for(held, idle_limit_, [&self] { return self.called; });
    if (!self.called) {  // time is up: off the list, wherever it stands there
      Worker** link = &idle_;
      while (*link != &self) link = &(*link)->next;
      *link = self.next;
      break;
    }
    if (stopping_) break;
  }
  --threads_;
  self.next = ended_;
  ended_ = &self;
  if (threads_ == 0) all_ended_.notify_one();
}

}  // namespace fiberd::runtime

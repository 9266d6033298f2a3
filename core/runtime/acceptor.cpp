#include "core/runtime/acceptor.hpp"

#include <new>
#include <string>

#include "core/base/cpu_relax.hpp"
#include "core/base/log.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::runtime {

Result<std::unique_ptr<AcceptorRegistration>> AcceptorRegistration::add(Scheduler& scheduler, int fd,
                                                                        AcceptCallback on_readable, void* argument) {
  auto owned = std::make_unique<AcceptorRecord>();
  AcceptorRecord& record = *owned;
  record.fd = fd;
  record.callback = on_readable;
  record.argument = argument;
  std::unique_ptr<AcceptorRegistration> registration(new AcceptorRegistration(scheduler, record));
  std::error_code error;
  {
    const LockGuard guard(scheduler.structure_lock_);
    scheduler.acceptor_records_.push_back(std::move(owned));
    scheduler.acceptors_.push_back(record);
    for (unsigned i = 0; i < scheduler.slot_count_.load(std::memory_order_relaxed) && !error; ++i)
      error = scheduler.slots_[i]->poller.add_acceptor(record);
  }
  if (error) return fail(error);
  return registration;
}

AcceptorRegistration::~AcceptorRegistration() {
  suspend();
  {
    const LockGuard guard(scheduler_.structure_lock_);
    List<AcceptorRecord>::remove(record_);
  }
  record_.closing.store(true, std::memory_order_seq_cst);
  while (record_.running.load(std::memory_order_seq_cst) != 0) cpu_relax();
}

void AcceptorRegistration::suspend() noexcept {
  const LockGuard guard(scheduler_.structure_lock_);
  if (record_.suspended) return;
  record_.suspended = true;
  for (unsigned i = 0; i < scheduler_.slot_count_.load(std::memory_order_relaxed); ++i)
    scheduler_.slots_[i]->poller.remove(record_.fd);
}

void AcceptorRegistration::resume() noexcept {
  const LockGuard guard(scheduler_.structure_lock_);
  if (!record_.suspended) return;
  record_.suspended = false;
  for (unsigned i = 0; i < scheduler_.slot_count_.load(std::memory_order_relaxed); ++i)
    if (const std::error_code error = scheduler_.slots_[i]->poller.add_acceptor(record_))
      log(LogLevel::error,
          "a listening socket cannot be watched by Processor " + std::to_string(i) + ": " + error.message());
}

void AcceptorRecord::deliver() noexcept {
  // The count goes up before the look at `closing`: the destructor sets `closing` before its look at the count.
  running.fetch_add(1, std::memory_order_seq_cst);
  if (!closing.load(std::memory_order_seq_cst)) callback(argument);
  running.fetch_sub(1, std::memory_order_seq_cst);
}

}  // namespace fiberd::runtime

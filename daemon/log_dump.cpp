#include "daemon/log_dump.hpp"

#include <time.h>

#include <exception>
#include <string>

#include "core/base/log.hpp"
#include "core/observe/fiber_dump.hpp"
#include "daemon/helper_thread.hpp"

namespace fiberd::daemon {

// A log that is read by people at night, and whose writer drops what does not fit: the rest is on the admin's page.
static constexpr std::size_t kMost = 1000;
static constexpr unsigned kBatch = 8;  // then the writer is left a millisecond

void LogDump::begin() {
  // The last one has said that it is over: it ends at once.
  if (started_) pthread_join(thread_, nullptr);
  started_ = false;
  if (state_ == nullptr) state_ = std::make_shared<State>();
  state_->busy.store(true, std::memory_order_release);
  const std::error_code error = start_helper<State, &LogDump::write>(thread_, "fiberd-dump", state_);
  started_ = !error;
  if (!error) return;
  state_->busy.store(false, std::memory_order_release);
  log(LogLevel::error, "SIGQUIT: no thread to write the fibers: " + error.message());
}

void LogDump::request() noexcept {
  const LockGuard guard(lock_);
  if (closed_) return;
  if (state_ != nullptr && state_->busy.load(std::memory_order_acquire)) {
    log(LogLevel::warning, "SIGQUIT: fibers are being written already");
    return;
  }
  try {
    begin();
  } catch (const std::bad_alloc&) {
    if (state_ != nullptr) state_->busy.store(false, std::memory_order_release);
    log(LogLevel::error, "SIGQUIT: no memory to write the fibers");
  }
}

void LogDump::close() noexcept {
  pthread_t last{};
  {
    const LockGuard guard(lock_);
    closed_ = true;
    if (state_ != nullptr) state_->cut.store(true, std::memory_order_release);
    if (!started_) return;
    started_ = false;
    last = thread_;
  }
  pthread_join(last, nullptr);
}

void LogDump::write(State& state) noexcept {
  try {
    log(LogLevel::warning, "SIGQUIT: all fibers");  // asked for, so it is not left out by log.level: warning
    unsigned written = 0;
    const Result<void> told = observe::dump_fibers(
        {},
        [&](std::string_view piece) -> Result<void> {
          if (state.cut.load(std::memory_order_acquire)) return fail(std::errc::operation_canceled);
          log(LogLevel::warning, piece.substr(0, piece.find_last_not_of('\n') + 1));
          if (++written % kBatch == 0) {
            const timespec some{0, 1'000'000};
            (void)nanosleep(&some, nullptr);
          }
          return {};
        },
        kMost);
    if (!told) log(LogLevel::warning, "SIGQUIT: the process ends before all fibers were written");
  } catch (const std::exception&) {
    log(LogLevel::error, "SIGQUIT: no memory to write all fibers");
  }
  state.busy.store(false, std::memory_order_release);
}

}  // namespace fiberd::daemon

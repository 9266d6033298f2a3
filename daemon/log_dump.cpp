#include "daemon/log_dump.hpp"

#include <time.h>

#include <exception>
#include <string>

#include "core/base/log.hpp"
#include "core/observe/fiber_dump.hpp"
#include "daemon/helper_thread.hpp"

namespace fiberd::daemon {

// A log that is read by people at night, and whose writer drops what does not fit: the rest is on the admin's page.
static constexpr std::size_t kMostDumps = 1000;
static constexpr unsigned kBatch = 8;  // then the writer is left a millisecond

static void say(LogLevel level, const char* who, const std::string& what) {
  log(level, std::string(who) + ": " + what);
}

Result<void> LogDump::begin(const char* who) {
  // The last one has said that it is over: it ends at once.
  if (started_) pthread_join(thread_, nullptr);
  started_ = false;
  if (state_ == nullptr) state_ = std::make_shared<State>();
  state_->who.store(who, std::memory_order_relaxed);
  state_->busy.store(true, std::memory_order_release);
  std::error_code error = std::make_error_code(std::errc::not_enough_memory);
  try {
    error = start_helper<State, &LogDump::write>(thread_, "fiberd-dump", state_);
  } catch (const std::bad_alloc&) {  // then it has not started
  }
  started_ = !error;
  if (!error) return {};
  state_->busy.store(false, std::memory_order_release);
  say(LogLevel::error, who, "no thread to write the fibers: " + error.message());
  return fail(error);
}

Result<void> LogDump::request(const char* who) noexcept {
  const LockGuard guard(lock_);
  if (closed_) return fail(std::errc::operation_canceled);
  try {
    if (state_ == nullptr || !state_->busy.load(std::memory_order_acquire)) return begin(who);
    say(LogLevel::warning, who, "fibers are being written already");
    return fail(std::errc::device_or_resource_busy);
  } catch (const std::bad_alloc&) {
    log(LogLevel::error, "no memory to write the fibers");
    return fail(std::errc::not_enough_memory);
  }
}

bool LogDump::wait(std::chrono::milliseconds most) noexcept {
  std::shared_ptr<State> state;
  {
    const LockGuard guard(lock_);
    state = state_;
  }
  for (auto left = most.count(); state != nullptr && state->busy.load(std::memory_order_acquire); --left) {
    if (left <= 0) return false;
    const timespec moment{0, 1'000'000};
    (void)nanosleep(&moment, nullptr);
  }
  return true;
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
  const char* const who = state.who.load(std::memory_order_relaxed);
  try {
    say(LogLevel::warning, who, "all fibers");  // asked for, so it is not left out by log.level: warning
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
        kMostDumps);
    if (!told) say(LogLevel::warning, who, "the process ends before all fibers were written");
  } catch (const std::exception&) {
    log(LogLevel::error, "no memory to write all fibers");
  }
  state.busy.store(false, std::memory_order_release);
}

}  // namespace fiberd::daemon

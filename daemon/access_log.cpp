// A request must not wait for a disk. Each Processor formats its lines into a ring of its own (by metric shard: one
// writer at a time), and a thread for each output (line_writer.cpp) drains the rings every 50 ms. When a ring is full
// the line is dropped and counted: an access log that stops the service when its disk is slow would be the outage it is
// meant to explain. Threads without a shard share ring 0 under a lock.
#include "daemon/access_log.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <new>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/base/thread_locals.hpp"
#include "core/metric/shard.hpp"
#include "core/runtime/runtime.hpp"
#include "daemon/line_ring.hpp"

namespace fiberd::daemon {

AccessLog::AccessLog(AccessLine line, metric::Counter* dropped, AccessChoice choice)
    : line_(std::move(line)),
      not_paths_(std::move(choice.not_paths)),
      dropped_(dropped),
      rings_(std::make_unique<std::atomic<LineRing*>[]>(metric::kMaxShards)) {
  if (choice.only.empty()) statuses_.set();
  for (const auto& [first, last] : choice.only)
    for (std::size_t status = first; status <= last && status < statuses_.size(); ++status) statuses_.set(status);
  if (choice.sample < 1) sample_ = static_cast<std::uint64_t>(choice.sample * 0x1p64);
}

AccessLog::AccessLog(AccessLine line, metric::Lease<metric::Counter> dropped, AccessChoice choice)
    : AccessLog(std::move(line), dropped.get(), std::move(choice)) {
  lease_ = std::move(dropped);
}

AccessLog::~AccessLog() {
  for (std::size_t i = 0; i < metric::kMaxShards; ++i) delete rings_[i].load(std::memory_order_acquire);
}

http::AccessLogHook AccessLog::hook() noexcept {
  http::AccessLogHook hook;
  hook.write = [](void* log, const http::AccessRecord& record) noexcept {
    static_cast<AccessLog*>(log)->write(record);
  };
  hook.argument = this;
  if (!not_paths_.empty())
    hook.wants = [](void* log, std::string_view path) noexcept { return static_cast<AccessLog*>(log)->wants(path); };
  return hook;
}

bool AccessLog::wants(std::string_view path) const noexcept {
  return std::none_of(not_paths_.begin(), not_paths_.end(), [path](std::string_view left_out) {
    return left_out.ends_with("/*") ? path.starts_with(left_out.substr(0, left_out.size() - 1)) : path == left_out;
  });
}

LineRing* AccessLog::ring() noexcept {
  auto& place = rings_[thread_locals()->shard];
  LineRing* r = place.load(std::memory_order_acquire);
  if (r != nullptr) return r;
  r = new (std::nothrow) LineRing;
  LineRing* none = nullptr;
  if (r != nullptr && !place.compare_exchange_strong(none, r, std::memory_order_acq_rel)) {
    delete r;
    r = none;
  }
  return r;
}

void AccessLog::write(const http::AccessRecord& record) noexcept {
  if (record.status >= statuses_.size() || !statuses_.test(record.status)) return;
  if (sample_ != UINT64_MAX && runtime::random() >= sample_) return;
  std::array<char, AccessLine::kMost> line;
  std::timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const std::size_t size = line_.write(line, record, now);
  LineRing* const r = ring();
  bool pushed = false;
  if (r != nullptr && thread_locals()->shard != 0) {
    pushed = r->push(line.data(), size);
  } else if (r != nullptr) {
    const LockGuard guard(shared_lock_);
    pushed = r->push(line.data(), size);
  }
  if (!pushed) lost(1);
}

std::size_t AccessLog::take(char* out, std::size_t room) noexcept {
  // Once around; a line that was begun is gone on with first.
  for (std::size_t i = 0; i < metric::kMaxShards; ++i, next_ = (next_ + 1) % metric::kMaxShards)
    if (LineRing* const r = rings_[next_].load(std::memory_order_acquire); r != nullptr)
      if (const std::size_t n = r->take(out, room); n != 0) return n;
  return 0;
}

bool AccessLog::empty() const noexcept {
  for (std::size_t i = 0; i < metric::kMaxShards; ++i)
    if (const LineRing* const r = rings_[i].load(std::memory_order_acquire); r != nullptr && !r->empty()) return false;
  return true;
}

std::uint64_t AccessLog::lines() const noexcept {
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < metric::kMaxShards; ++i)
    if (const LineRing* const r = rings_[i].load(std::memory_order_acquire)) count += r->lines();
  return count;
}

void AccessLog::lost(std::uint64_t lines) noexcept {
  if (metric::Counter* const dropped = dropped_.load(std::memory_order_acquire)) dropped->add(lines);
}

// ---------------------------------------------------------------------------------------------- writers

AccessLogWriters::~AccessLogWriters() { stop({}, 0); }

Result<void> AccessLogWriters::add(const std::string& output, const std::shared_ptr<AccessLog>& log, std::string& why) {
  bool started = false;
  std::vector<std::shared_ptr<LineWriter>> over;  // die outside the lock
  {
    const LockGuard guard(lock_);
    started = started_;
    logs_.reserve(logs_.size() + 1);  // what a writer has is known here
    for (auto w = writers_.begin(); w != writers_.end();) {
      if ((*w)->output() != output) {
        ++w;
      } else if ((*w)->add(log)) {
        logs_.push_back({w->get(), log});
        return {};
      } else {  // its last log has gone since
        over.push_back(std::move(*w));
        w = writers_.erase(w);
      }
    }
  }
  auto opened = LineWriter::open(
      {.output = output, .thread = "fiberd-access", .look_every = std::chrono::milliseconds(200), .ends_alone = true},
      why);
  if (!opened) return fail(opened.error());
  std::shared_ptr<LineWriter> writer = std::move(*opened);
  if (started)
    if (const std::error_code error = writer->start()) {
      why = "no thread to write it: " + error.message();
      return fail(error);
    }
  (void)writer->add(log);  // its first
  const LockGuard guard(lock_);
  logs_.push_back({writer.get(), log});
  writers_.push_back(std::move(writer));
  return {};
}

std::error_code AccessLogWriters::start() {
  std::vector<std::shared_ptr<LineWriter>> all;
  {
    const LockGuard guard(lock_);
    started_ = true;
    all = writers_;
  }
  for (const auto& writer : all)
    if (const std::error_code error = writer->start()) return error;
  return {};
}

void AccessLogWriters::tidy() noexcept {
  std::vector<std::shared_ptr<LineWriter>> idle;
  {
    const LockGuard guard(lock_);
    std::erase_if(logs_, [](const Log& l) { return l.log.expired(); });
    for (auto w = writers_.begin(); w != writers_.end();) {
      const bool used = std::any_of(logs_.begin(), logs_.end(), [&](const Log& l) { return l.writer == w->get(); });
      if (!used) idle.push_back(std::move(*w));
      w = used ? w + 1 : writers_.erase(w);
    }
  }
  static constexpr std::chrono::milliseconds kPatience{200};
  for (const auto& writer : idle)
    (void)writer->stop(kPatience, monotonic_now() + std::chrono::nanoseconds(kPatience).count());
}

void AccessLogWriters::stop(std::chrono::milliseconds patience, std::int64_t deadline) noexcept {
  for (const auto& writer : writers_) writer->begin_stop(patience, deadline);
  for (const auto& writer : writers_) {
    if (const std::uint64_t lost = writer->stop(patience, deadline); lost != 0)
      log(LogLevel::warning, "access log " + writer->output() + ": " + std::to_string(lost) +
                                 " lines were not written: nobody reads it, or it cannot be written");
  }
  writers_.clear();
  // A thread that was left behind still has them; the counters go now.
  for (const Log& l : logs_)
    if (const auto log = l.log.lock()) log->forget_metrics();
  logs_.clear();
}

void AccessLogWriters::reopen() noexcept {
  const LockGuard guard(lock_);
  for (const auto& writer : writers_) writer->reopen();
}

}  // namespace fiberd::daemon

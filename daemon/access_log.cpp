// A request must not wait for a disk. Each Processor formats its lines into a ring of its own (by metric shard: one
// writer at a time), and a thread for each output (line_writer.cpp) drains the rings every 50 ms. When a ring is full
// the line is dropped and counted: an access log that stops the service when its disk is slow would be the outage it is
// meant to explain. Threads without a shard share ring 0 under a lock.
#include "daemon/access_log.hpp"

#include <limits.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <ctime>
#include <new>

#include "core/base/clock.hpp"
#include "core/base/json.hpp"
#include "core/base/log.hpp"
#include "core/base/thread_locals.hpp"
#include "core/metric/shard.hpp"
#include "daemon/line_ring.hpp"

namespace fiberd::daemon {

// A line is bounded by bounding what of it a client chooses, each field for itself and as it is written (a byte may
// become six): so the line is whole, with what comes behind them, however long they are. What was cut is marked. No
// line is longer than a pipe takes in one piece: nobody who writes to the same one gets into its middle.
static constexpr std::size_t kMaxLine = PIPE_BUF;
static constexpr std::size_t kMaxMethod = 64;
static constexpr std::size_t kMaxTarget = 1536;
static constexpr std::size_t kMaxTargetAlone = 3072;  // in a line that has no other fields
static constexpr std::size_t kMaxField = 600;
static constexpr std::size_t kMaxListener = 512;
static constexpr std::size_t kMaxRest = 768;  // all else
static_assert(kMaxMethod + kMaxTarget + 2 * kMaxField + kMaxListener + kMaxRest < kMaxLine);
static_assert(kMaxMethod + kMaxTargetAlone + kMaxRest < kMaxLine);

AccessLog::AccessLog(AccessFormat format, std::string listener, metric::Counter* dropped)
    : format_(format),
      listener_(std::move(listener)),
      dropped_(dropped),
      rings_(std::make_unique<std::atomic<LineRing*>[]>(metric::kMaxShards)) {}

AccessLog::AccessLog(AccessFormat format, std::string listener, metric::Lease<metric::Counter> dropped)
    : AccessLog(format, std::move(listener), dropped.get()) {
  lease_ = std::move(dropped);
}

AccessLog::~AccessLog() {
  for (std::size_t i = 0; i < metric::kMaxShards; ++i) delete rings_[i].load(std::memory_order_acquire);
}

http::AccessLogHook AccessLog::hook() noexcept {
  return {[](void* log, const http::AccessRecord& record) noexcept { static_cast<AccessLog*>(log)->write(record); },
          this};
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

namespace {

/// A bounded writer: what does not fit is cut.
class Line {
 public:
  Line(char* out, std::size_t room) noexcept : at_(out), begin_(out), end_(out + room) {}
  void raw(std::string_view text) noexcept {
    const std::size_t n = std::min(text.size(), static_cast<std::size_t>(end_ - at_));
    std::memcpy(at_, text.data(), n);
    at_ += n;
  }
  void number(std::uint64_t value) noexcept {
    char digits[20];
    std::size_t n = 0;
    do {
      digits[n++] = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value != 0);
    while (n != 0 && at_ != end_) *at_++ = digits[--n];
  }
  /// A client's bytes: nothing of them may end the line, the field, or a terminal's colours. At most `most` bytes are
  /// written, and no escape is cut through. False: not all of it had room.
  bool quoted(std::string_view text, bool json, std::size_t most) noexcept {
    const char* const limit = at_ + std::min(most, static_cast<std::size_t>(end_ - at_));
    for (const char c : text) {
      if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
        if (at_ == limit) return false;
        *at_++ = c;
        continue;
      }
      const JsonByte in_json = JsonByte::opaque(c);
      const std::string_view escaped = in_json.text();
      // The common format writes \xNN, and what goes for one character as JSON does.
      const bool hex = !json && escaped.size() == 6;
      if (static_cast<std::size_t>(limit - at_) < (hex ? 4 : escaped.size())) return false;
      if (hex) raw("\\x");
      raw(hex ? escaped.substr(4) : escaped);
    }
    return true;
  }
  [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(at_ - begin_); }

 private:
  char* at_;
  char* begin_;
  char* end_;
};

void write_common(Line& line, std::string_view time, std::string_view host, const http::AccessRecord& r,
                  std::string_view version) noexcept {
  line.raw(host);
  line.raw(" - - [");
  line.raw(time);
  line.raw("] \"");
  if (r.method.empty()) {
    line.raw("-");  // a head that was refused
  } else {
    (void)line.quoted(r.method, false, kMaxMethod);
    line.raw(" ");
    if (!line.quoted(r.target, false, kMaxTargetAlone)) line.raw("...");
    line.raw(" ");
    line.raw(version);
  }
  line.raw("\" ");
  line.number(r.status);
  line.raw(" ");
  line.number(r.body_bytes);
}

void write_json(Line& line, std::string_view time, std::string_view host, const http::AccessRecord& r,
                std::string_view version, std::string_view listener) noexcept {
  std::array<std::string_view, 5> cut;
  std::size_t cuts = 0;
  const auto text = [&](std::string_view name, std::string_view value, std::size_t most) noexcept {
    line.raw(",\"");
    line.raw(name);
    line.raw("\":\"");
    if (!line.quoted(value, true, most)) cut[cuts++] = name;
    line.raw("\"");
  };
  line.raw("{\"time\":\"");
  line.raw(time);
  line.raw("\"");
  text("listener", listener, kMaxListener);
  line.raw(",\"client\":\"");
  line.raw(host);
  line.raw("\"");
  text("method", r.method, kMaxMethod);
  text("target", r.target, kMaxTarget);
  line.raw(",\"version\":\"");
  line.raw(version);
  line.raw("\",\"status\":");
  line.number(r.status);
  line.raw(",\"bytes\":");
  line.number(r.body_bytes);
  line.raw(",\"duration_us\":");
  line.number(r.duration_ns / 1000);
  text("user_agent", r.user_agent, kMaxField);
  text("referer", r.referer, kMaxField);
  for (std::size_t i = 0; i < cuts; ++i) {
    line.raw(i == 0 ? ",\"truncated\":[\"" : ",\"");
    line.raw(cut[i]);
    line.raw("\"");
  }
  line.raw(cuts != 0 ? "]}" : "}");
}

}  // namespace

std::size_t AccessLog::format_line(char* out, std::size_t room, const http::AccessRecord& r) noexcept {
  Line line(out, room - 1);
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  gmtime_r(&now, &parts);
  char time[40];
  const bool common = format_ == AccessFormat::common;
  const char* const form = common ? "%d/%b/%Y:%H:%M:%S +0000" : "%Y-%m-%dT%H:%M:%SZ";
  const std::string_view stamp(time, std::strftime(time, sizeof time, form, &parts));
  const std::string_view version = r.protocol;
  const std::string host = r.peer != nullptr ? r.peer->host() : std::string("-");
  if (common)
    write_common(line, stamp, host, r, version);
  else
    write_json(line, stamp, host, r, version, listener_);
  std::size_t size = line.size();
  out[size++] = '\n';
  return size;
}

void AccessLog::write(const http::AccessRecord& record) noexcept {
  char line[kMaxLine];
  const std::size_t size = format_line(line, sizeof line, record);
  LineRing* const r = ring();
  bool pushed = false;
  if (r != nullptr && thread_locals()->shard != 0) {
    pushed = r->push(line, size);
  } else if (r != nullptr) {
    const LockGuard guard(shared_lock_);
    pushed = r->push(line, size);
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

Result<void> AccessLogWriters::add(const std::string& output, std::shared_ptr<AccessLog> log, std::string& why) {
  std::shared_ptr<LineWriter> writer;
  bool started = false;
  {
    const LockGuard guard(lock_);
    started = started_;
    for (const auto& w : writers_)
      if (w->output() == output) writer = w;
  }
  const bool fresh = writer == nullptr;
  if (fresh) {
    auto opened = LineWriter::open(
        {.output = output, .thread = "fiberd-access", .look_every = std::chrono::milliseconds(200)}, why);
    if (!opened) return fail(opened.error());
    writer = std::move(*opened);
    if (started)
      if (const std::error_code error = writer->start()) {
        why = "no thread to write it: " + error.message();
        return fail(error);
      }
  }
  const LockGuard guard(lock_);
  logs_.push_back({writer.get(), log});
  writer->add(std::move(log));
  if (fresh) writers_.push_back(std::move(writer));
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

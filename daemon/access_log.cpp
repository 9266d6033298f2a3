// A request must not wait for a disk. Each Processor formats its lines into a ring of its own (by metric shard: one
// writer at a time), and one thread drains all rings every 50 ms. The ring is a plain single-producer, single-consumer
// byte queue: two atomics, no lock. When it is full the line is dropped and counted: an access log that stops the
// service when its disk is slow would be the outage it is meant to explain. Threads without a shard share ring 0 under
// a lock.
#include "daemon/access_log.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <new>

#include "core/base/cache_line.hpp"
#include "core/base/log.hpp"
#include "core/base/thread_locals.hpp"
#include "core/metric/shard.hpp"

namespace fiberd::daemon {

static constexpr std::uint32_t kRingSize = 1U << 20U;
// A line is bounded by bounding what of it a client chooses, each field for itself and as it is written (a byte may
// become six): so the line is whole, with what comes behind them, however long they are. What was cut is marked.
static constexpr std::size_t kMaxLine = 8192;
static constexpr std::size_t kMaxMethod = 64;
static constexpr std::size_t kMaxTarget = 3072;
static constexpr std::size_t kMaxField = 1536;
static constexpr std::size_t kMaxListener = 512;
static constexpr std::size_t kMaxRest = 768;  // all else
static_assert(kMaxMethod + kMaxTarget + 2 * kMaxField + kMaxListener + kMaxRest < kMaxLine);

struct AccessLog::Ring {
  alignas(kCacheLine) std::atomic<std::uint32_t> head{0};  // consumer
  alignas(kCacheLine) std::atomic<std::uint32_t> tail{0};  // producer
  std::array<char, kRingSize> bytes;

  [[nodiscard]] bool push(const char* line, std::size_t size) noexcept {
    const std::uint32_t t = tail.load(std::memory_order_relaxed);
    if (kRingSize - (t - head.load(std::memory_order_acquire)) < size) return false;
    const std::uint32_t at = t % kRingSize;
    const std::size_t first = std::min<std::size_t>(size, kRingSize - at);
    std::memcpy(bytes.data() + at, line, first);
    std::memcpy(bytes.data(), line + first, size - first);
    tail.store(t + static_cast<std::uint32_t>(size), std::memory_order_release);
    return true;
  }
};

static Result<int> open_output(const std::string& output) {
  if (output == "stdout") return dup(STDOUT_FILENO);
  if (output == "stderr") return dup(STDERR_FILENO);
  const int fd = ::open(output.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
  if (fd < 0) return fail(std::error_code(errno, std::system_category()));
  return fd;
}

Result<std::unique_ptr<AccessLog>> AccessLog::open(AccessFormat format, std::string output, std::string listener,
                                                   metric::Counter* dropped) {
  const Result<int> fd = open_output(output);
  if (!fd) return fail(fd.error());
  return std::unique_ptr<AccessLog>(new AccessLog(format, std::move(output), std::move(listener), dropped, *fd));
}

AccessLog::AccessLog(AccessFormat format, std::string output, std::string listener, metric::Counter* dropped, int fd)
    : format_(format),
      output_(std::move(output)),
      listener_(std::move(listener)),
      dropped_(dropped),
      fd_(fd),
      rings_(std::make_unique<std::atomic<Ring*>[]>(metric::kMaxShards)) {}

AccessLog::~AccessLog() {
  drain();
  for (std::size_t i = 0; i < metric::kMaxShards; ++i) delete rings_[i].load(std::memory_order_acquire);
  ::close(fd_);
}

http::AccessLogHook AccessLog::hook() noexcept {
  return {[](void* log, const http::AccessRecord& record) noexcept { static_cast<AccessLog*>(log)->write(record); },
          this};
}

AccessLog::Ring* AccessLog::ring() noexcept {
  auto& place = rings_[thread_locals()->shard];
  Ring* r = place.load(std::memory_order_acquire);
  if (r != nullptr) return r;
  r = new (std::nothrow) Ring;
  Ring* none = nullptr;
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
    static constexpr std::string_view kHex = "0123456789abcdef";
    const char* const limit = at_ + std::min(most, static_cast<std::size_t>(end_ - at_));
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      const bool marked = c == '"' || c == '\\';
      const bool plain = byte >= 0x20 && byte < 0x7f;
      const std::size_t size = marked ? 2 : plain ? 1 : json ? 6 : 4;
      if (static_cast<std::size_t>(limit - at_) < size) return false;
      if (marked) {
        raw(c == '"' ? "\\\"" : "\\\\");
      } else if (plain) {
        *at_++ = c;
      } else {
        const char hex[2] = {kHex[byte >> 4U], kHex[byte & 15U]};
        raw(json ? "\\u00" : "\\x");
        raw({hex, 2});
      }
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
    if (!line.quoted(r.target, false, kMaxTarget)) line.raw("...");
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
  const std::string_view version = r.version == http::Version::http11 ? "HTTP/1.1" : "HTTP/1.0";
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
  Ring* const r = ring();
  bool pushed = false;
  if (r != nullptr && thread_locals()->shard != 0) {
    pushed = r->push(line, size);
  } else if (r != nullptr) {
    const LockGuard guard(shared_lock_);
    pushed = r->push(line, size);
  }
  if (!pushed && dropped_ != nullptr) dropped_->add();
}

void AccessLog::reopen() noexcept {
  const Result<int> fd = open_output(output_);
  if (!fd) {
    log(LogLevel::error, "access log " + output_ + " cannot be reopened: " + fd.error().message());
    return;
  }
  ::close(fd_);
  fd_ = *fd;
  in_line_ = after_half_line_ = false;
}

/// How many bytes of it were written before it failed.
static std::size_t write_all(int fd, std::string_view data) noexcept {
  std::size_t written = 0;
  while (written != data.size()) {
    const ssize_t n = ::write(fd, data.data() + written, data.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    written += static_cast<std::size_t>(n);
  }
  return written;
}

/// A disk that is full loses lines; the metric says how many, the service goes on. `data` ends with a line, or where
/// the ring does: then its last line goes on in the next call.
void AccessLog::write_out(std::string_view data) noexcept {
  std::uint64_t lost = 0;
  if (in_lost_line_) {
    const std::size_t end = data.find('\n');
    if (end == std::string_view::npos) return;
    in_lost_line_ = false;
    lost = 1;
    data.remove_prefix(end + 1);
  }
  // What was cut through must not run into the next.
  if (after_half_line_ && !data.empty() && write_all(fd_, "\n") == 1) after_half_line_ = in_line_ = false;
  const std::size_t written = after_half_line_ ? 0 : write_all(fd_, data);
  if (written != 0) in_line_ = data[written - 1] != '\n';
  if (const std::string_view rest = data.substr(written); !rest.empty()) {
    after_half_line_ = in_line_;
    in_lost_line_ = rest.back() != '\n';
    lost += static_cast<std::uint64_t>(std::count(rest.begin(), rest.end(), '\n'));
  }
  if (lost != 0 && dropped_ != nullptr) dropped_->add(lost);
}

std::size_t AccessLog::drain() noexcept {
  if (reopen_.exchange(false, std::memory_order_acq_rel)) reopen();
  std::size_t total = 0;
  for (std::size_t i = 0; i < metric::kMaxShards; ++i) {
    Ring* const r = rings_[i].load(std::memory_order_acquire);
    if (r == nullptr) continue;
    std::uint32_t head = r->head.load(std::memory_order_relaxed);
    const std::uint32_t tail = r->tail.load(std::memory_order_acquire);
    while (head != tail) {
      const std::uint32_t at = head % kRingSize;
      const std::uint32_t n = std::min(tail - head, kRingSize - at);
      write_out({r->bytes.data() + at, n});
      head += n;
      total += n;
      r->head.store(head, std::memory_order_release);
    }
  }
  return total;
}

// ---------------------------------------------------------------------------------------------- writer

AccessLogWriter::~AccessLogWriter() { stop(); }

void AccessLogWriter::start() {
  if (logs_.empty() || thread_.joinable()) return;
  // Signals go to the service thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void AccessLogWriter::run() noexcept {
  pthread_setname_np(pthread_self(), "fiberd-log");
  while (stop_.load(std::memory_order_acquire) == 0) {
    std::size_t written = 0;
    for (AccessLog* const log : logs_) written += log->drain();
    std::this_thread::sleep_for(std::chrono::milliseconds(written != 0 ? 50 : 200));
  }
}

void AccessLogWriter::stop() noexcept {
  stop_.store(1, std::memory_order_release);
  if (thread_.joinable()) thread_.join();
  for (AccessLog* const log : logs_) log->drain();
  logs_.clear();  // they may go before the writer does
}

void AccessLogWriter::reopen() noexcept {
  for (AccessLog* const log : logs_) log->request_reopen();
}

}  // namespace fiberd::daemon

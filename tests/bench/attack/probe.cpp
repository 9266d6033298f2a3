// The well-behaved client. Requests are due at fixed times whether or not earlier ones were answered, and latency
// counts from the time a request was due: a server that stands still for a second is charged for every request that was
// due in it (an open-loop schedule). Requests go by turns to a kept connection and to a new one.
//
// Real-time priority is asked for, so that what is measured is the server's delay and not that of this process behind
// those of the attackers and the server on the same cores; it uses some permille of a core. Where it is not permitted
// the probe goes on without, and says so ("realtime").
//
// Over HTTP/2 a kept connection carries one request at a time, too. Over TLS each new connection is a full handshake.
//
// What any HTTP client does is not a failure: a kept connection that the server had closed while it was idle is tried
// once more on a new one (RFC 9112, section 9.3.1), and its time goes on.
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <deque>
#include <vector>

#include "tests/bench/attack/frames.hpp"
#include "tests/bench/attack/loop.hpp"
#include "tests/bench/attack/wire.hpp"

namespace attack {

namespace {

constexpr std::string_view kBody = "Hello, World!";
constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: probe\r\n\r\n";
constexpr std::string_view kGetClose =
    "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: probe\r\nConnection: close\r\n\r\n";
constexpr std::uint32_t kSource = 9;  // not one of the attackers', whose ports may be used up
constexpr std::int64_t kPatience = 2 * kSecond;
constexpr std::size_t kKept = 8;

volatile std::sig_atomic_t stopped = 0;

enum class Failure : std::size_t { timeout, refused, closed, status, body, local, kinds };

struct Call {
  Wire wire;
  bool connected = false;
  bool kept = false;    // for the pool
  bool reused = false;  // it carried a request before
  bool busy = false;
  std::int64_t due = 0;
  std::string out;  // has not been taken
  std::string in;   // of the answer; over HTTP/2 its body
  // Over HTTP/2.
  h2::Reader frames;
  std::uint32_t stream = 0;  // the last request's
  bool good = false;         // its status was 200
  bool leaving = false;      // GOAWAY has come
};

/// Of a block of fields: whether it begins with `:status: 200` (RFC 7541 section 6.1), behind changes of the table.
bool says_200(std::string_view block) {
  while (!block.empty() && (block.front() & '\xe0') == '\x20') block.remove_prefix(1);
  return !block.empty() && block.front() == '\x88';
}

bool same_letters(std::string_view a, std::string_view lower) {
  return std::equal(a.begin(), a.end(), lower.begin(), lower.end(),
                    [](char x, char y) { return (x >= 'A' && x <= 'Z' ? static_cast<char>(x + 32) : x) == y; });
}

/// Of a head: the Content-Length, or npos.
std::size_t length_of(std::string_view head) {
  static constexpr std::string_view kName = "content-length:";
  for (std::size_t at = head.find("\r\n"); at != std::string_view::npos; at = head.find("\r\n", at + 2)) {
    if (!same_letters(head.substr(at + 2, kName.size()), kName)) continue;
    return std::strtoul(std::string(head.substr(at + 2 + kName.size(), 12)).c_str(), nullptr, 10);
  }
  return std::string_view::npos;
}

class Probe {
 public:
  explicit Probe(const Options& options)
      : o_(options), ep_(epoll_create1(EPOLL_CLOEXEC)), tls_(options.over == "tls"), h2_(options.over == "h2") {
    calls_.resize(1024);
    for (std::size_t i = calls_.size(); i-- > 0;) free_.push_back(i);
  }

  void run() {
    const sched_param priority{1};
    realtime_ = sched_setscheduler(0, SCHED_FIFO, &priority) == 0;
    (void)mlockall(MCL_CURRENT | MCL_FUTURE);
    (void)prctl(PR_SET_TIMERSLACK, 1UL);
    std::signal(SIGTERM, [](int) { stopped = 1; });
    const std::int64_t begin = now_ns();
    const auto end = begin + static_cast<std::int64_t>(o_.seconds * 1e9);
    const auto step = static_cast<std::int64_t>(1e9 / o_.rate);
    std::int64_t due = begin;
    epoll_event events[64];
    for (std::int64_t now = begin;; now = now_ns()) {
      const bool over = now >= end || stopped != 0;
      for (; !over && due <= now; due += step) ask(due);
      if (over && in_flight_ == 0) break;
      if (in_flight_ != 0) give_up_late(now);
      const std::int64_t wait = over ? 10 * kMillisecond : std::max<std::int64_t>(due - now_ns(), 0);
      const timespec t{wait / kSecond, wait % kSecond};
      const int n = epoll_pwait2(ep_, events, 64, &t, nullptr);
      for (int i = 0; i < n; ++i) on_event(events[i].data.u64, events[i].events);
    }
    print(static_cast<double>(now_ns() - begin) * 1e-9);
  }

 private:
  void ask(std::int64_t due) {
    ++asked_;
    if (asked_ % 2 != 0) {
      // Longest unused first, so that all of the pool are kept alive.
      while (!pool_.empty()) {
        const std::size_t i = pool_.front();
        pool_.pop_front();
        if (calls_[i].wire.fd() < 0 || calls_[i].busy) continue;
        calls_[i].busy = true;
        calls_[i].reused = true;
        calls_[i].due = due;
        calls_[i].in.clear();
        ++in_flight_;
        send_request(i);
        return;
      }
      begin(due, true);
      return;
    }
    begin(due, pool_size_ < kKept);  // so the pool is filled
  }

  void begin(std::int64_t due, bool kept) {
    if (free_.empty()) return fail(Failure::local);
    const int fd = begin_connect(o_.port, kSource);
    if (fd == -ECONNREFUSED) return fail(Failure::refused);
    if (fd < 0) return fail(Failure::local);
    const std::size_t i = free_.back();
    if (!watch(ep_, fd, i)) {
      close(fd);
      return fail(Failure::local);
    }
    free_.pop_back();
    calls_[i] = Call{};
    calls_[i].wire = Wire(fd, tls_);
    calls_[i].kept = kept;
    calls_[i].busy = true;
    calls_[i].due = due;
    if (kept) ++pool_size_;
    ++in_flight_;
  }

  void fail(Failure why) { ++failures_[static_cast<std::size_t>(why)]; }

  void drop(std::size_t i) {
    Call& c = calls_[i];
    if (c.busy) --in_flight_;
    if (c.kept) --pool_size_;
    c = Call{};
    std::erase(pool_, i);
    free_.push_back(i);
  }

  void send_request(std::size_t i) {
    Call& c = calls_[i];
    if (!h2_) {
      c.out += c.kept ? kGet : kGetClose;
      return flush(i);
    }
    if (c.stream == 0) {
      c.out += h2::kPreface;
      h2::put_frame(c.out, h2::kSettings, 0, 0, {});
      c.stream = 1;
    } else {
      c.stream += 2;
      h2::put_window_update(c.out, 0, static_cast<std::uint32_t>(kBody.size()));  // what the last answer took
    }
    c.good = false;
    static const std::string get = h2::request(false, "/");
    h2::put_frame(c.out, h2::kHeaders, h2::kEndStream | h2::kEndHeaders, c.stream, get);
    flush(i);
  }

  void flush(std::size_t i) {
    Call& c = calls_[i];
    while (!c.out.empty()) {
      const ssize_t r = c.wire.write(c.out);
      if (r < 0 && errno == EAGAIN) return;
      if (r <= 0) return ended(i);
      c.out.erase(0, static_cast<std::size_t>(r));
    }
  }

  /// The server has ended the connection, with an error or without.
  void ended(std::size_t i) {
    const bool busy = calls_[i].busy;
    const bool again = calls_[i].reused && calls_[i].in.empty();
    const bool connected = calls_[i].connected;
    const std::int64_t due = calls_[i].due;
    drop(i);
    if (!busy) return;
    if (again) {
      ++retries_;
      begin(due, true);
    } else {
      fail(connected ? Failure::closed : Failure::refused);
    }
  }

  void give_up_late(std::int64_t now) {
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      if (!calls_[i].busy || now - calls_[i].due < kPatience) continue;
      fail(Failure::timeout);
      drop(i);
    }
  }

  void on_event(std::size_t i, std::uint32_t events) {
    static char in[4096];
    if (calls_[i].wire.fd() < 0) return;
    if (!calls_[i].connected) {
      if ((events & (EPOLLERR | EPOLLHUP)) != 0 && socket_error(calls_[i].wire.fd()) != 0) return ended(i);
      if ((events & EPOLLOUT) == 0) return;
      calls_[i].connected = true;
      send_request(i);
    }
    while (calls_[i].wire.fd() >= 0) {
      const ssize_t r = calls_[i].wire.read(in, sizeof in);
      if (r < 0 && (errno == EAGAIN || errno == EINTR)) break;
      if (r <= 0) return ended(i);
      if (h2_) {
        take_frames(i, {in, static_cast<std::size_t>(r)});
        continue;
      }
      // Bytes that nobody asked for.
      if (!calls_[i].busy) return drop(i);
      calls_[i].in.append(in, static_cast<std::size_t>(r));
      check(i);
    }
    if (calls_[i].wire.fd() >= 0) flush(i);  // a handshake has gone on, or there is something to confirm
  }

  void take_frames(std::size_t i, std::string_view bytes) {
    Call& c = calls_[i];
    bool over = false;
    bool reset = false;
    c.frames.feed(bytes, [&](const h2::Frame& f) {
      const bool ours = c.busy && f.stream == c.stream;
      const bool flagged = (f.flags & h2::kEndStream) != 0;
      if (f.type == h2::kSettings && !flagged) h2::put_frame(c.out, h2::kSettings, h2::kEndStream, 0, {});
      if (f.type == h2::kPing && !flagged) h2::put_frame(c.out, h2::kPing, h2::kEndStream, 0, f.payload);
      if (f.type == h2::kGoAway) c.leaving = true;
      if (ours && f.type == h2::kHeaders) c.good = c.good || says_200(f.payload);
      if (ours && f.type == h2::kData) c.in += f.payload;
      over = over || (ours && flagged && (f.type == h2::kHeaders || f.type == h2::kData));
      reset = reset || (ours && f.type == h2::kReset);
    });
    if (over) {
      if (c.good && c.in == kBody) return answered(i);
      fail(c.good ? Failure::body : Failure::status);
      return drop(i);
    }
    if (reset) {
      fail(Failure::status);
      return drop(i);
    }
    if (c.leaving && !c.busy) drop(i);
  }

  void check(std::size_t i) {
    Call& c = calls_[i];
    const std::size_t end = c.in.find("\r\n\r\n");
    if (end == std::string::npos) return;
    const std::string_view head = std::string_view(c.in).substr(0, end + 2);
    const std::string_view body = std::string_view(c.in).substr(end + 4);
    const std::size_t length = length_of(head);
    if (head.substr(0, 13) != "HTTP/1.1 200 ") {
      fail(Failure::status);
      return drop(i);
    }
    if (length != kBody.size() || body.size() > length) {
      fail(Failure::body);
      return drop(i);
    }
    if (body.size() < length) return;
    if (body != kBody) {
      fail(Failure::body);
      return drop(i);
    }
    answered(i);
  }

  void answered(std::size_t i) {
    Call& c = calls_[i];
    latencies_.push_back(now_ns() - c.due);
    if (!c.kept || c.leaving || pool_size_ > kKept) return drop(i);
    c.busy = false;
    --in_flight_;
    pool_.push_back(i);
  }

  double at(double part) {
    if (latencies_.empty()) return 0;
    const auto rank = static_cast<std::size_t>(std::ceil(part * static_cast<double>(latencies_.size())));
    return static_cast<double>(latencies_[std::max<std::size_t>(rank, 1) - 1]) * 1e-6;
  }

  void print(double seconds) {
    static constexpr const char* kNames[] = {"timeout", "refused", "closed", "status", "body", "local"};
    std::sort(latencies_.begin(), latencies_.end());
    std::printf(
        "{\"asked\": %llu, \"ok\": %zu, \"retries\": %llu, \"seconds\": %.2f, \"realtime\": %s, \"p50_ms\": %.3f, "
        "\"p99_ms\": %.3f, \"max_ms\": %.3f, \"failures\": {",
        static_cast<unsigned long long>(asked_), latencies_.size(), static_cast<unsigned long long>(retries_), seconds,
        realtime_ ? "true" : "false", at(0.5), at(0.99), at(1));
    for (std::size_t k = 0; k < static_cast<std::size_t>(Failure::kinds); ++k)
      std::printf("%s\"%s\": %llu", k == 0 ? "" : ", ", kNames[k], static_cast<unsigned long long>(failures_[k]));
    std::printf("}, \"latencies_us\": [");
    for (std::size_t k = 0; k < latencies_.size(); ++k)
      std::printf("%s%lld", k == 0 ? "" : ", ", static_cast<long long>(latencies_[k] / 1000));
    std::printf("]}\n");
  }

  const Options& o_;
  int ep_;
  const bool tls_;
  const bool h2_;
  bool realtime_ = false;
  std::vector<Call> calls_;
  std::vector<std::size_t> free_;
  std::deque<std::size_t> pool_;  // idle, longest unused first
  std::size_t pool_size_ = 0;     // kept ones, busy or not
  std::size_t in_flight_ = 0;
  std::uint64_t asked_ = 0;
  std::uint64_t retries_ = 0;
  std::uint64_t failures_[static_cast<std::size_t>(Failure::kinds)] = {};
  std::vector<std::int64_t> latencies_;
};

}  // namespace

void probe(const Options& options) { Probe(options).run(); }

}  // namespace attack

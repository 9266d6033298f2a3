// Attacks that come and go: a fixed number of places, each of which begins a new connection when its last one has
// ended, until the time is over (mutated: or until as many requests were sent as were asked for).
#include <algorithm>
#include <vector>

#include "tests/bench/attack/client_hello.hpp"
#include "tests/bench/attack/loop.hpp"
#include "tests/bench/attack/mutations.hpp"

namespace attack {

namespace {

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
constexpr std::string_view kHalf = "GET / HTTP/1.1\r\nHost: local";
constexpr std::size_t kOnce = 1U << 20U;  // sent or received of one connection before others have their turn
constexpr std::int64_t kRest = 10 * kMillisecond;
constexpr std::int64_t kPatience = 2 * kSecond;  // of all but pipeline and bombs with an answer that does not come

std::string repeated(std::string_view what, std::size_t size) {
  std::string out;
  while (out.size() < size) out += what;
  return out;
}

struct Place {
  int fd = -1;
  bool connected = false;
  bool answered = false;
  std::uint64_t number = 0;  // of all connections
  std::int64_t begin = 0;
  std::string text;
  std::size_t sent = 0;
  std::size_t prefix = 0;  // of an answer's first line, recognised so far
};

class Storm {
 public:
  explicit Storm(const Options& options) : o_(options), ep_(epoll_create1(EPOLL_CLOEXEC)) {
    churn_ = o_.mode == "churn";
    reset_ = o_.mode == "reset";
    pipeline_ = o_.mode == "pipeline";
    bombs_ = o_.mode == "bombs";
    mutated_ = o_.mode == "mutated";
    handshakes_ = o_.mode == "handshake_flood";
    const std::size_t own = pipeline_ ? 16 : bombs_ || mutated_ || handshakes_ ? 64 : 32;
    places_.resize(!mutated_ && o_.count != 0 ? o_.count : own);
    most_ = !mutated_ ? UINT64_MAX : o_.count != 0 ? o_.count : 20'000;
    if (pipeline_) stream_ = repeated(kGet, std::size_t{1} << 16U);
    if (bombs_) {
      small_fields_ = repeated("a: b\r\n", std::size_t{1} << 16U);
      huge_field_ = std::string(std::size_t{1} << 16U, 'a');
    }
    for (std::size_t i = 0; i < places_.size(); ++i) idle_.push_back(i);
  }
  ~Storm() {
    for (Place& p : places_)
      if (p.fd >= 0) close_with_reset(p.fd);
    close(ep_);
  }
  Storm(const Storm&) = delete;
  Storm& operator=(const Storm&) = delete;

  Tally run() {
    begin_ = now_ns();
    const auto end = begin_ + static_cast<std::int64_t>(o_.seconds * 1e9);
    std::int64_t look = begin_;
    std::vector<std::size_t> again;
    epoll_event events[256];
    for (std::int64_t now = begin_; now < end; now = now_ns()) {
      begin_some(now);
      if (mutated_ && started_ == most_ && idle_.size() == places_.size()) break;
      const bool ready = (!idle_.empty() && started_ < most_ && now >= rest_until_) || !again_.empty();
      const int n = epoll_wait(ep_, events, 256, ready ? 0 : 10);
      again.swap(again_);
      for (const std::size_t i : again)
        if (places_[i].connected) on_event(i, EPOLLIN | EPOLLOUT);
      again.clear();
      for (int i = 0; i < n; ++i) on_event(events[i].data.u64, events[i].events);
      if (now >= look) {
        look = now + kRest;
        give_up_late(now);
      }
    }
    for (const Place& p : places_)
      if (p.fd >= 0 && p.connected) ++t_.still_open;
    return t_;
  }

 private:
  void begin_some(std::int64_t now) {
    while (!idle_.empty() && started_ < most_ && now >= rest_until_) {
      const std::size_t i = idle_.back();
      Place& p = places_[i];
      p = Place{};
      const int fd = begin_connect(o_.port, static_cast<std::uint32_t>(1 + started_ % 4));
      if (fd == -ECONNREFUSED) {
        ++started_;
        count_shed(p);
        rest_until_ = now + kRest;  // nobody listens: no use in asking without a pause
        return;
      }
      if (fd < 0 || !watch(ep_, fd, i)) {
        if (fd >= 0) close(fd);
        ++t_.no_port;
        rest_until_ = now + kRest;
        return;
      }
      idle_.pop_back();
      p.fd = fd;
      p.number = started_++;
      p.begin = now;
    }
  }

  void count_shed(const Place& p) {
    ++t_.shed;
    if (!p.connected || !p.answered) ++t_.refused;
    t_.last_shed_s = static_cast<double>(now_ns() - begin_) * 1e-9;
  }

  void free_place(std::size_t i) {
    places_[i].fd = -1;
    idle_.push_back(i);
  }

  void shed(std::size_t i) {
    Place& p = places_[i];
    count_shed(p);
    close(p.fd);
    free_place(i);
  }

  void end(std::size_t i, bool with_reset) {
    with_reset ? close_with_reset(places_[i].fd) : void(close(places_[i].fd));
    ++t_.ended;
    free_place(i);
  }

  void give_up_late(std::int64_t now) {
    if (pipeline_ || bombs_) return;
    for (std::size_t i = 0; i < places_.size(); ++i) {
      if (places_[i].fd < 0 || now - places_[i].begin < kPatience) continue;
      ++t_.timeouts;
      end(i, true);
    }
  }

  /// What is to be sent from `sent` on; empty when there is no more.
  std::string_view rest_of(const Place& p) const {
    if (pipeline_) return std::string_view(stream_).substr(p.sent % stream_.size());
    if (!bombs_) return std::string_view(p.text).substr(p.sent);
    if (p.sent < p.text.size()) return std::string_view(p.text).substr(p.sent);
    const std::string_view endless = p.number % 2 == 0 ? small_fields_ : huge_field_;
    return endless.substr((p.sent - p.text.size()) % endless.size());
  }

  void on_connected(Place& p) {
    p.connected = true;
    ++t_.opened;
    if (mutated_) p.text = mutated_request(o_.seed, p.number);
    if (mutated_ && p.text.empty()) shutdown(p.fd, SHUT_WR);  // nothing at all is a request to try, too
    if (churn_) p.text = kGet;
    if (handshakes_) p.text = hello_;
    if (reset_) p.text = p.number % 2 == 0 ? kGet : kHalf;
    if (bombs_) p.text = p.number % 2 == 0 ? "GET / HTTP/1.1\r\nHost: localhost\r\n" : "GET / HTTP/1.1\r\nX: ";
    if (!pipeline_ && !(reset_ && p.number % 2 != 0)) ++t_.requests;
  }

  void on_event(std::size_t i, std::uint32_t events) {
    Place& p = places_[i];
    if (p.fd < 0) return;
    if (!p.connected) {
      if ((events & (EPOLLERR | EPOLLHUP)) != 0 && socket_error(p.fd) != 0) return shed(i);
      if ((events & EPOLLOUT) == 0) return;
      on_connected(p);
    }
    if (!send_some(i)) return;
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP)) != 0 && !receive_some(i)) return;
    // Answers made room for more requests, and no edge will tell.
    if (pipeline_ && (events & EPOLLIN) != 0) send_some(i);
  }

  /// False when the connection is over.
  bool send_some(std::size_t i) {
    Place& p = places_[i];
    for (std::size_t once = 0;;) {
      const std::string_view text = rest_of(p);
      if (text.empty()) return true;
      if (once >= kOnce) {
        again_.push_back(i);
        return true;
      }
      const ssize_t r = send(p.fd, text.data(), text.size(), MSG_NOSIGNAL);
      if (r < 0 && errno == EAGAIN) return true;
      // A mutated request may be refused before its end: the answer is still to be read.
      if (r < 0 && mutated_) {
        p.text.clear();
        p.sent = 0;
        return true;
      }
      if (r < 0) return shed(i), false;
      p.sent += static_cast<std::size_t>(r);
      once += static_cast<std::size_t>(r);
      t_.bytes_sent += static_cast<std::uint64_t>(r);
      if (p.sent != p.text.size()) continue;
      if (reset_) return end(i, true), false;
      if (mutated_) shutdown(p.fd, SHUT_WR);
    }
  }

  bool receive_some(std::size_t i) {
    static char in[65536];
    Place& p = places_[i];
    for (std::size_t once = 0;;) {
      const ssize_t r = recv(p.fd, in, sizeof in, 0);
      if (r < 0 && (errno == EAGAIN || errno == EINTR)) return true;
      if (r <= 0) return shed(i), false;
      if (!p.answered) ++t_.answered;
      p.answered = true;
      if (pipeline_) count_answers(p, {in, static_cast<std::size_t>(r)});
      // The whole of so small an answer comes in one piece.
      if (churn_) return end(i, false), false;
      // The server has signed: that is what it was to pay for.
      if (handshakes_) return end(i, true), false;
      once += static_cast<std::size_t>(r);
      if (once < kOnce) continue;
      again_.push_back(i);
      return true;
    }
  }

  void count_answers(Place& p, std::string_view in) {
    static constexpr std::string_view kFirst = "HTTP/1.1 200";
    for (const char c : in) {
      p.prefix = c == kFirst[p.prefix] ? p.prefix + 1 : c == kFirst[0] ? 1 : 0;
      if (p.prefix != kFirst.size()) continue;
      ++t_.requests;
      p.prefix = 0;
    }
  }

  const Options& o_;
  int ep_;
  bool churn_ = false;
  bool reset_ = false;
  bool pipeline_ = false;
  bool bombs_ = false;
  bool mutated_ = false;
  bool handshakes_ = false;
  const std::string hello_ = client_hello();
  std::string stream_;
  std::string small_fields_;
  std::string huge_field_;
  std::vector<Place> places_;
  std::vector<std::size_t> idle_;
  std::vector<std::size_t> again_;  // had enough for one turn, and no edge will tell that there is more
  std::uint64_t started_ = 0;
  std::uint64_t most_ = UINT64_MAX;
  std::int64_t begin_ = 0;
  std::int64_t rest_until_ = 0;
  Tally t_;
};

}  // namespace

Tally storm(const Options& options) { return Storm(options).run(); }

}  // namespace attack

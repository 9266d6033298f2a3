// Attacks that hold: every connection is opened once, and what counts is whether and when the server ends it.
//
// A server that closes a connection whose client does not read is not noticed by that client: the FIN waits behind what
// is unread. So `still_open` is an upper bound for slow_readers; who measures looks at the server's descriptors, too.
#include <algorithm>
#include <vector>

#include "tests/bench/attack/client_hello.hpp"
#include "tests/bench/attack/loop.hpp"

namespace attack {

namespace {

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
constexpr std::string_view kLarge = "GET /files/large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n";
constexpr std::string_view kPost =
    "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n";
constexpr std::string_view kHalf = "GET / HTTP/1.1\r\nHost: local";
constexpr std::string_view kHead = "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
constexpr int kSmallWindow = 4096;
constexpr std::size_t kMostPending = 256;
constexpr std::int64_t kTick = 10 * kMillisecond;
constexpr std::size_t kTicks = 100;  // a drop a second
constexpr std::int64_t kPatience = 10 * kSecond;

struct Client {
  int fd = -1;
  bool connected = false;
  bool answered = false;
  std::size_t sent = 0;  // drops
};

class Holder {
 public:
  explicit Holder(const Options& options) : o_(options), ep_(epoll_create1(EPOLL_CLOEXEC)) {
    heads_ = o_.mode == "slow_heads";
    bodies_ = o_.mode == "slow_bodies";
    readers_ = o_.mode == "slow_readers";
    half_ = o_.mode == "descriptors";
    handshakes_ = o_.mode == "stalled_handshakes";
    const std::size_t own = heads_ || handshakes_ ? 1'000 : bodies_ ? 500 : readers_ ? 300 : half_ ? 400 : 19'000;
    clients_.resize(o_.count != 0 ? o_.count : own);
  }
  ~Holder() {
    for (Client& c : clients_)
      if (c.fd >= 0) close_with_reset(c.fd);
    close(ep_);
  }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;

  Tally run() {
    begin_ = now_ns();
    const auto end = begin_ + static_cast<std::int64_t>(o_.seconds * 1e9);
    std::int64_t tick = begin_ + kTick;
    epoll_event events[512];
    for (std::int64_t now = begin_; now < end; now = now_ns()) {
      open_some(now);
      if (next_ == clients_.size() && live_ == 0) break;
      const bool more = next_ < clients_.size() && pending_ < kMostPending && now >= rest_until_;
      const int n = epoll_wait(ep_, events, 512, more ? 0 : static_cast<int>(kTick / kMillisecond));
      for (int i = 0; i < n; ++i) on_event(clients_[events[i].data.u64], events[i].data.u64, events[i].events);
      if (heads_ || bodies_ || readers_)
        for (; tick <= now; tick += kTick) drip();
    }
    for (const Client& c : clients_)
      if (c.fd >= 0 && c.connected) ++t_.still_open;
    return t_;
  }

 private:
  double seconds() const { return static_cast<double>(now_ns() - begin_) * 1e-9; }

  void open_some(std::int64_t now) {
    for (int i = 0; i < 32 && next_ < clients_.size() && pending_ < kMostPending && now >= rest_until_; ++i) {
      const auto source = static_cast<std::uint32_t>(1 + next_ % 4);
      const int fd = begin_connect(o_.port, source, readers_ ? kSmallWindow : 0);
      if (fd == -ECONNREFUSED) {
        ++next_;
        ++t_.shed;
        ++t_.refused;
        t_.last_shed_s = seconds();
        continue;
      }
      if (fd < 0 || !watch(ep_, fd, next_)) {
        // Ports or descriptors of our own lack: nothing that the server did.
        if (fd >= 0) close(fd);
        ++t_.no_port;
        rest_until_ = now + kTick;
        if (now - begin_ > kPatience) next_ = clients_.size();
        return;
      }
      clients_[next_++].fd = fd;
      ++live_;
      ++pending_;
    }
  }

  bool whole(std::size_t i) const { return !heads_ && !(half_ && i % 2 != 0) && !(handshakes_ && i % 3 != 2); }

  /// A third says nothing, a third half a hello, a third a whole one and nothing to what it is answered.
  std::string_view hello(std::size_t i) const {
    return std::string_view(hello_).substr(0, i % 3 == 0 ? 0 : i % 3 == 1 ? hello_.size() / 2 : hello_.size());
  }

  void shed(Client& c, std::size_t i) {
    close(c.fd);
    c.fd = -1;
    --live_;
    if (!c.connected) --pending_;
    ++t_.shed;
    if (!c.connected || (whole(i) && !bodies_ && !c.answered)) ++t_.refused;
    t_.last_shed_s = seconds();
  }

  bool send_text(Client& c, std::size_t i, std::string_view text) {
    const ssize_t r = send(c.fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (r > 0) t_.bytes_sent += static_cast<std::uint64_t>(r);
    if (r >= 0 || errno == EAGAIN) return true;
    shed(c, i);
    return false;
  }

  void on_event(Client& c, std::size_t i, std::uint32_t events) {
    if (c.fd < 0) return;
    if (!c.connected) {
      if ((events & (EPOLLERR | EPOLLHUP)) != 0 && socket_error(c.fd) != 0) return shed(c, i);
      if ((events & EPOLLOUT) == 0) return;
      c.connected = true;
      --pending_;
      ++t_.opened;
      t_.last_open_s = seconds();
      if (whole(i)) ++t_.requests;
      const std::string_view first = heads_        ? kHead.substr(0, 1)
                                     : bodies_     ? kPost
                                     : readers_    ? kLarge
                                     : handshakes_ ? hello(i)
                                     : whole(i)    ? kGet
                                                   : kHalf;
      c.sent = 1;
      if (!first.empty() && !send_text(c, i, first)) return;
    }
    if ((events & EPOLLIN) != 0 && !c.answered) {
      // The end of the stream makes it readable, too.
      char byte = 0;
      if (recv(c.fd, &byte, 1, MSG_PEEK) == 1) {
        c.answered = true;
        ++t_.answered;
      }
    }
    if (readers_) {
      if ((events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) != 0) shed(c, i);
      return;
    }
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP)) != 0) drain(c, i);
  }

  void drain(Client& c, std::size_t i) {
    static char in[65536];
    for (;;) {
      const ssize_t r = recv(c.fd, in, sizeof in, 0);
      if (r > 0) continue;
      if (r < 0 && (errno == EAGAIN || errno == EINTR)) return;
      return shed(c, i);
    }
  }

  void drip() {
    static char in[16];
    for (std::size_t i = slot_++ % kTicks; i < next_; i += kTicks) {
      Client& c = clients_[i];
      if (c.fd < 0 || !c.connected) continue;
      if (readers_) {
        if (i % 2 == 0) continue;
        const ssize_t r = recv(c.fd, in, sizeof in, 0);
        if (r == 0 || (r < 0 && errno != EAGAIN)) shed(c, i);
      } else {
        const std::size_t at = c.sent++;
        send_text(c, i, heads_ && at < kHead.size() ? kHead.substr(at, 1) : "a");
      }
    }
  }

  const Options& o_;
  int ep_;
  bool heads_ = false;
  bool bodies_ = false;
  bool readers_ = false;
  bool half_ = false;
  bool handshakes_ = false;
  const std::string hello_ = client_hello();
  std::vector<Client> clients_;
  std::size_t next_ = 0;
  std::size_t live_ = 0;
  std::size_t pending_ = 0;
  std::size_t slot_ = 0;
  std::int64_t begin_ = 0;
  std::int64_t rest_until_ = 0;
  Tally t_;
};

}  // namespace

Tally hold(const Options& options) { return Holder(options).run(); }

}  // namespace attack

// HTTP/2 that stays: connections of many streams each, opened once and held until the server ends them.
//
//   window_drip  each stream asks for a file through a window of 0 bytes, and opens it by one a second
//   slow_data    each stream uploads, a byte a second
//
// A stream that the server resets goes on being dripped at: what counts is when the connection ends.
#include <algorithm>
#include <vector>

#include "tests/bench/attack/frames.hpp"
#include "tests/bench/attack/loop.hpp"

namespace attack {

namespace {

constexpr std::int64_t kTick = 10 * kMillisecond;
constexpr std::size_t kTicks = 100;  // a drop a second
constexpr std::size_t kMostUnsent = 64U << 10U;

struct Held {
  int fd = -1;
  bool connected = false;
  bool answered = false;
  std::string text;  // to be sent
  h2::Reader reader;
};

class H2Holder {
 public:
  explicit H2Holder(const Options& options)
      : o_(options),
        ep_(epoll_create1(EPOLL_CLOEXEC)),
        drip_(options.mode == "window_drip"),
        streams_(drip_ ? 100 : 20) {
    clients_.resize(o_.count != 0 ? o_.count : drip_ ? 30 : 50);
  }
  ~H2Holder() {
    for (Held& c : clients_)
      if (c.fd >= 0) close_with_reset(c.fd);
    close(ep_);
  }
  H2Holder(const H2Holder&) = delete;
  H2Holder& operator=(const H2Holder&) = delete;

  Tally run() {
    begin_ = now_ns();
    const auto end = begin_ + static_cast<std::int64_t>(o_.seconds * 1e9);
    for (std::size_t i = 0; i < clients_.size(); ++i) open(i);
    std::int64_t tick = begin_ + kTick;
    epoll_event events[256];
    for (std::int64_t now = begin_; now < end && live_ != 0; now = now_ns()) {
      const int n = epoll_wait(ep_, events, 256, static_cast<int>(kTick / kMillisecond));
      for (int i = 0; i < n; ++i) on_event(clients_[events[i].data.u64], events[i].events);
      for (; tick <= now; tick += kTick) drop();
    }
    for (const Held& c : clients_)
      if (c.fd >= 0 && c.connected) ++t_.still_open;
    return t_;
  }

 private:
  void open(std::size_t i) {
    const int fd = begin_connect(o_.port, static_cast<std::uint32_t>(1 + i % 4));
    if (fd < 0 || !watch(ep_, fd, i)) {
      if (fd >= 0) close(fd);
      ++t_.no_port;
      return;
    }
    clients_[i].fd = fd;
    ++live_;
  }

  void shed(Held& c) {
    close(c.fd);
    c.fd = -1;
    --live_;
    ++t_.shed;
    if (!c.answered) ++t_.refused;
    t_.last_shed_s = static_cast<double>(now_ns() - begin_) * 1e-9;
  }

  void greet(Held& c) {
    c.connected = true;
    ++t_.opened;
    t_.last_open_s = static_cast<double>(now_ns() - begin_) * 1e-9;
    c.text = h2::kPreface;
    drip_ ? h2::put_window_settings(c.text, 0) : h2::put_frame(c.text, h2::kSettings, 0, 0, {});
    const std::string block = drip_ ? h2::request(false, "/files/small.bin") : h2::request(true, "/echo");
    for (std::uint32_t s = 0; s < streams_; ++s) {
      h2::put_frame(c.text, h2::kHeaders, static_cast<std::uint8_t>(h2::kEndHeaders | (drip_ ? h2::kEndStream : 0)),
                    2 * s + 1, block);
      ++t_.requests;
    }
  }

  void drop() {
    for (std::size_t i = slot_++ % kTicks; i < clients_.size(); i += kTicks) {
      Held& c = clients_[i];
      if (c.fd < 0 || !c.connected || c.text.size() > kMostUnsent) continue;
      for (std::uint32_t s = 0; s < streams_; ++s)
        drip_ ? h2::put_window_update(c.text, 2 * s + 1, 1) : h2::put_frame(c.text, h2::kData, 0, 2 * s + 1, "a");
      send_some(c);
    }
  }

  void send_some(Held& c) {
    while (!c.text.empty()) {
      const ssize_t r = send(c.fd, c.text.data(), c.text.size(), MSG_NOSIGNAL);
      if (r < 0 && errno == EAGAIN) return;
      if (r < 0) return shed(c);
      c.text.erase(0, static_cast<std::size_t>(r));
      t_.bytes_sent += static_cast<std::uint64_t>(r);
    }
  }

  void on_event(Held& c, std::uint32_t events) {
    static char in[65536];
    if (c.fd < 0) return;
    if (!c.connected) {
      if ((events & (EPOLLERR | EPOLLHUP)) != 0 && socket_error(c.fd) != 0) return shed(c);
      if ((events & EPOLLOUT) == 0) return;
      greet(c);
    }
    for (;;) {
      const ssize_t r = recv(c.fd, in, sizeof in, 0);
      if (r < 0 && (errno == EAGAIN || errno == EINTR)) break;
      if (r <= 0) return shed(c);
      if (!c.answered) ++t_.answered;
      c.answered = true;
      c.reader.feed({in, static_cast<std::size_t>(r)}, [&c](const h2::Frame& f) {
        if (f.type == h2::kSettings && (f.flags & h2::kEndStream) == 0)
          h2::put_frame(c.text, h2::kSettings, h2::kEndStream, 0, {});
      });
    }
    send_some(c);
  }

  const Options& o_;
  int ep_;
  const bool drip_;
  const std::uint32_t streams_;
  std::vector<Held> clients_;
  std::size_t live_ = 0;
  std::size_t slot_ = 0;
  std::int64_t begin_ = 0;
  Tally t_;
};

}  // namespace

Tally h2_hold(const Options& options) { return H2Holder(options).run(); }

}  // namespace attack

#include "tests/support/paced_load.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <deque>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/base/clock.hpp"
#include "core/net/endpoint.hpp"

namespace fiberd::test {

std::uint32_t PacedLoad::Outcome::quantile(double q) const {
  if (latencies.empty()) return 0;
  const auto at = static_cast<std::size_t>(q * static_cast<double>(latencies.size() - 1));
  return latencies[at];
}

class PacedLoad::Loop {
 public:
  Loop(Options options, std::atomic<std::uint64_t>& answered, std::atomic<bool>& ending, std::atomic<bool>& cut)
      : options_(std::move(options)),
        answered_(answered),
        ending_(ending),
        cut_(cut),
        kept_request_("GET " + options_.path + " HTTP/1.1\r\nHost: a\r\n\r\n"),
        last_request_("GET " + options_.path + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") {
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) throw std::system_error(errno, std::system_category());
    for (unsigned i = 0; i < options_.connections; ++i) {
      kept_.push_back(std::make_unique<Connection>());
      if (!connect(*kept_.back())) throw std::system_error(errno, std::system_category());
    }
  }
  ~Loop() {
    for (const auto& c : kept_) close(*c);
    for (const auto& c : fresh_) close(*c);
    ::close(epoll_);
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void run() {
    const std::int64_t began = monotonic_now();
    const std::int64_t step = 1'000'000'000 / options_.rate;
    const std::uint64_t at_once = options_.connections;
    while (out_.asked < at_once) ask(began);
    std::array<epoll_event, 256> events;
    for (bool asks = true; asks || waiting_ != 0;) {
      if (cut_.load()) break;
      asks = !ending_.load();
      const std::int64_t now = monotonic_now();
      const auto due = [&] { return began + static_cast<std::int64_t>(out_.asked - at_once) * step; };
      while (asks && due() <= now) ask(due());
      const int n = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 1);
      for (int i = 0; i < n; ++i) {
        auto& c = *static_cast<Connection*>(events[static_cast<std::size_t>(i)].data.ptr);
        if (c.fd < 0) continue;
        if (c.connecting && (events[static_cast<std::size_t>(i)].events & EPOLLOUT) != 0) connected(c);
        if (c.fd >= 0 && (events[static_cast<std::size_t>(i)].events & ~EPOLLOUT) != 0) receive(c);
      }
      std::erase_if(fresh_, [](const auto& c) { return c->fd < 0; });
    }
    // What nobody answered.
    for (const auto& c : kept_)
      while (!c->due.empty()) fail(*c, "no answer");
    for (const auto& c : fresh_)
      while (!c->due.empty()) fail(*c, "no answer to a new connection");
    std::sort(out_.latencies.begin(), out_.latencies.end());
  }
  Outcome& outcome() noexcept { return out_; }

 private:
  struct Connection {
    int fd = -1;
    bool fresh = false;
    bool connecting = false;
    std::string in{};
    std::deque<std::int64_t> due{};  // when; the first one has been sent
  };

  bool connect(Connection& c) {
    c.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c.fd < 0) return false;
    const int on = 1;
    (void)::setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const net::Endpoint to = net::Endpoint::v4(0x7f000001, options_.port);
    c.connecting = ::connect(c.fd, to.data(), to.size()) != 0;
    if (c.connecting && errno != EINPROGRESS) {
      close(c);
      return false;
    }
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP | (c.connecting ? EPOLLOUT : 0U);
    event.data.ptr = &c;
    return ::epoll_ctl(epoll_, EPOLL_CTL_ADD, c.fd, &event) == 0;
  }
  void connected(Connection& c) {
    int error = 0;
    socklen_t size = sizeof error;
    (void)::getsockopt(c.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return lose(c, std::string("connect: ") + std::strerror(error));
    c.connecting = false;
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP;
    event.data.ptr = &c;
    (void)::epoll_ctl(epoll_, EPOLL_CTL_MOD, c.fd, &event);
    if (!c.due.empty()) send(c);
  }
  static void close(Connection& c) noexcept {
    if (c.fd >= 0) ::close(c.fd);
    c.fd = -1;
  }

  void ask(std::int64_t due) {
    const std::uint64_t n = out_.asked++;
    if (options_.fresh_each != 0 && n % options_.fresh_each == 0) {
      ++out_.fresh;
      fresh_.push_back(std::make_unique<Connection>());
      Connection& c = *fresh_.back();
      c.fresh = true;
      c.due.push_back(due);
      ++waiting_;
      if (!connect(c)) return lose(c, std::string("connect: ") + std::strerror(errno));
      if (!c.connecting) send(c);
      return;
    }
    Connection& c = *kept_[next_++ % kept_.size()];
    c.due.push_back(due);
    ++waiting_;
    if (c.fd < 0 && !connect(c)) return lose(c, std::string("connect: ") + std::strerror(errno));
    if (c.due.size() == 1 && !c.connecting) send(c);
  }
  void send(Connection& c) {
    const std::string_view request = c.fresh ? last_request_ : kept_request_;
    if (::send(c.fd, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size()))
      lose(c, std::string("send: ") + std::strerror(errno));
  }
  void receive(Connection& c) {
    std::array<char, 16384> data;
    const ssize_t n = ::recv(c.fd, data.data(), data.size(), 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      if (!c.fresh) ++out_.closed;
      return lose(c, n == 0 ? "the connection ended" : std::string("recv: ") + std::strerror(errno));
    }
    c.in.append(data.data(), static_cast<std::size_t>(n));
    const std::size_t head = c.in.find("\r\n\r\n");
    if (head == std::string::npos) return;
    static constexpr std::string_view kLength = "Content-Length: ";
    const std::size_t at = c.in.find(kLength);
    std::size_t length = 0;
    if (at < head) (void)std::from_chars(c.in.data() + at + kLength.size(), c.in.data() + head, length);
    if (c.in.size() < head + 4 + length) return;
    const bool good = c.in.starts_with("HTTP/1.1 200 ") && c.in.size() == head + 4 + length &&
                      std::string_view(c.in).substr(head + 4) == options_.body;
    if (!good || c.due.empty()) return lose(c, "answered: " + c.in.substr(0, 200));
    out_.latencies.push_back(static_cast<std::uint32_t>((monotonic_now() - c.due.front()) / 1000));
    ++out_.answered;
    answered_.store(out_.answered, std::memory_order_relaxed);
    c.due.pop_front();
    --waiting_;
    const bool last = std::string_view(c.in).substr(0, head).find("\r\nConnection: close") != std::string_view::npos;
    c.in.clear();
    if (c.fresh) return close(c);
    if (last) {
      // The server said it: who goes on takes another connection.
      ++out_.told;
      close(c);
      if (!c.due.empty() && !connect(c)) return lose(c, std::string("connect: ") + std::strerror(errno));
      if (!c.due.empty() && !c.connecting) send(c);
      return;
    }
    if (!c.due.empty()) send(c);
  }
  void fail(Connection& c, const std::string& why) {
    ++out_.failed;
    if (out_.first_failure.empty()) out_.first_failure = why;
    c.due.pop_front();
    --waiting_;
  }
  /// The request that was on its way is lost; those behind it get a new connection.
  void lose(Connection& c, const std::string& why) {
    if (!c.due.empty()) fail(c, why);
    close(c);
    c.in.clear();
    c.connecting = false;
    while (!c.due.empty()) {
      if (connect(c)) {
        if (!c.connecting) send(c);
        return;
      }
      fail(c, "connect again");
    }
  }

  const Options options_;
  std::atomic<std::uint64_t>& answered_;
  std::atomic<bool>& ending_;
  std::atomic<bool>& cut_;
  const std::string kept_request_;
  const std::string last_request_;
  int epoll_ = -1;
  std::vector<std::unique_ptr<Connection>> kept_;
  std::vector<std::unique_ptr<Connection>> fresh_;
  std::uint64_t next_ = 0;
  std::uint64_t waiting_ = 0;
  Outcome out_;
};

PacedLoad::PacedLoad(Options options)
    : loop_(std::make_unique<Loop>(std::move(options), answered_, ending_, cut_)), thread_([this] { loop_->run(); }) {}

PacedLoad::~PacedLoad() {
  ending_.store(true);
  cut_.store(true);
  if (thread_.joinable()) thread_.join();
}

PacedLoad::Outcome PacedLoad::finish(std::chrono::seconds patience) {
  ending_.store(true);
  const std::int64_t until = monotonic_now() + std::chrono::nanoseconds(patience).count();
  // The thread ends by itself when all is answered.
  std::thread cutter([&] {
    while (!cut_.load() && monotonic_now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    cut_.store(true);
  });
  thread_.join();
  cut_.store(true);
  cutter.join();
  return std::move(loop_->outcome());
}

}  // namespace fiberd::test

// The load of the published experiments. One thread, epoll; knows nothing of fiberd.
//
//   http_paced closed PORT CONNECTIONS REQUESTS
//     REQUESTS in all over CONNECTIONS connections, the next one as soon as an answer is there. Opening a connection is
//     part of its first request's latency.
//   http_paced open PORT RATE SECONDS TIMEOUT_MS
//     RATE requests a second at fixed times, whether answers come or not (an open loop): latency counts from the time a
//     request was due, so a late start is not hidden (coordinated omission). Each takes an idle kept connection or
//     opens one. A request that is not answered in time has failed and its connection is closed.
//
// Prints one line of JSON. 200 is admitted, 429 and 503 are refused, everything else has failed. Times in ms.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

std::int64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

constexpr std::string_view kRequest = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

struct Client {
  int fd = -1;
  bool connected = false;
  bool waiting = false;          // a request is out, or goes out once connected
  std::int64_t due = 0;          // of that request
  std::uint64_t generation = 0;  // counts the requests
  std::string in;
};

struct Outcome {
  std::int64_t due;
  std::int64_t latency;
  enum Kind : std::uint8_t { admitted, refused, failed } kind;
};

class Load {
 public:
  explicit Load(int port) : port_(port), ep_(epoll_create1(0)) {}

  std::size_t add_client() {
    clients_.emplace_back();
    return clients_.size() - 1;
  }

  /// Sends a request that was due then on client `i`, opening it if it must be.
  void send_request(std::size_t i, std::int64_t due) {
    Client& c = clients_[i];
    c.waiting = true;
    c.due = due;
    ++c.generation;
    c.in.clear();
    if (c.fd < 0) {
      if (!open(i)) fail(i);
    } else {
      write(i);
    }
  }

  /// Waits until something comes or `until` (monotonic ns) has passed, and handles it.
  void poll(std::int64_t until) {
    const std::int64_t wait = std::max<std::int64_t>(until - now_ns(), 0);
    timespec t{};
    t.tv_sec = wait / 1'000'000'000;
    t.tv_nsec = wait % 1'000'000'000;
    epoll_event events[512];
    const int count = epoll_pwait2(ep_, events, 512, &t, nullptr);
    for (int e = 0; e < count; ++e) {
      const std::size_t i = events[e].data.u64;
      if (clients_[i].fd >= 0 && !clients_[i].connected) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(clients_[i].fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0) {
          fail(i);
          continue;
        }
        if ((events[e].events & EPOLLOUT) == 0) continue;
        clients_[i].connected = true;
        if (clients_[i].waiting) write(i);
      }
      if ((events[e].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read(i);
    }
  }

  void fail(std::size_t i) {
    if (clients_[i].waiting) finish(i, Outcome::failed);
    close_client(i);
  }

  std::vector<Client> clients_;
  std::vector<Outcome> outcomes_;
  std::vector<std::size_t> idle_;  // kept connections without a request, the last used first
  bool lost_ = false;              // some connection was closed

 private:
  bool open(std::size_t i) {
    Client& c = clients_[i];
    c.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c.fd < 0) return false;
    const int one = 1;
    setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(static_cast<std::uint16_t>(port_));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(c.fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 && errno != EINPROGRESS) return false;
    c.connected = false;
    epoll_event e{};
    e.events = EPOLLOUT | EPOLLIN | EPOLLET;
    e.data.u64 = i;
    return epoll_ctl(ep_, EPOLL_CTL_ADD, c.fd, &e) == 0;
  }

  void write(std::size_t i) {
    if (send(clients_[i].fd, kRequest.data(), kRequest.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(kRequest.size()))
      fail(i);
  }

  void read(std::size_t i) {
    Client& c = clients_[i];
    char buffer[16384];
    while (c.fd >= 0) {
      const ssize_t n = recv(c.fd, buffer, sizeof buffer, 0);
      if (n < 0 && errno == EAGAIN) return;
      if (n <= 0) return fail(i);
      if (c.waiting) c.in.append(buffer, static_cast<std::size_t>(n));
      take_answer(i);
      if (static_cast<std::size_t>(n) < sizeof buffer) return;
    }
  }

  void take_answer(std::size_t i) {
    Client& c = clients_[i];
    const std::size_t head = c.in.find("\r\n\r\n");
    if (!c.waiting || head == std::string::npos) return;
    const std::size_t field = c.in.find("\r\nContent-Length: ");
    if (field == std::string::npos || field > head) return fail(i);
    const std::size_t length = std::strtoul(c.in.c_str() + field + 18, nullptr, 10);
    if (c.in.size() < head + 4 + length) return;
    const int status = std::atoi(c.in.c_str() + 9);
    const std::size_t closing = c.in.find("\r\nConnection: close");
    const bool close = closing != std::string::npos && closing < head;
    finish(i, status == 200 ? Outcome::admitted : status == 429 || status == 503 ? Outcome::refused : Outcome::failed);
    if (close) {
      close_client(i);
    } else {
      idle_.push_back(i);
    }
  }

  void finish(std::size_t i, Outcome::Kind kind) {
    clients_[i].waiting = false;
    outcomes_.push_back({clients_[i].due, now_ns() - clients_[i].due, kind});
  }

  void close_client(std::size_t i) {
    Client& c = clients_[i];
    if (c.fd < 0) return;
    ::close(c.fd);
    c.fd = -1;
    c.connected = false;
    lost_ = true;
    std::erase(idle_, i);
  }

  int port_;
  int ep_;
};

double ms(std::int64_t ns) { return static_cast<double>(ns) * 1e-6; }

/// "name": [quantiles 0, 0.01, … 1], and the 0.999 one.
void print_latencies(const char* name, std::vector<std::int64_t> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double q) {
    return values.empty() ? 0.0 : ms(values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))]);
  };
  std::printf(
      ", \"%s\": {\"count\": %zu, \"p50\": %.3f, \"p99\": %.3f, \"p999\": %.3f, \"max\": %.3f, \"quantiles\": [", name,
      values.size(), at(0.5), at(0.99), at(0.999), at(1));
  for (int q = 0; q <= 100; ++q) std::printf("%s%.3f", q == 0 ? "" : ", ", at(q * 0.01));
  std::printf("]}");
}

void report(const std::vector<Outcome>& outcomes, std::int64_t begin, double seconds) {
  std::vector<std::int64_t> admitted;
  std::vector<std::int64_t> refused;
  std::size_t failed = 0;
  constexpr std::int64_t kStep = 100'000'000;
  std::vector<std::vector<std::int64_t>> steps;
  for (const Outcome& o : outcomes) {
    if (o.kind == Outcome::failed) {
      ++failed;
      continue;
    }
    (o.kind == Outcome::admitted ? admitted : refused).push_back(o.latency);
    if (o.kind != Outcome::admitted) continue;
    const auto step = static_cast<std::size_t>((o.due - begin) / kStep);
    if (steps.size() <= step) steps.resize(step + 1);
    steps[step].push_back(o.latency);
  }
  std::printf("{\"requests\": %zu, \"failed\": %zu, \"seconds\": %.4f", outcomes.size(), failed, seconds);
  print_latencies("admitted", admitted);
  print_latencies("refused", refused);
  std::printf(", \"p99_by_100ms\": [");
  for (std::size_t s = 0; s < steps.size(); ++s) {
    std::sort(steps[s].begin(), steps[s].end());
    std::printf("%s%.3f", s == 0 ? "" : ", ", steps[s].empty() ? 0.0 : ms(steps[s][(steps[s].size() - 1) * 99 / 100]));
  }
  std::printf("]}\n");
}

int closed_loop(Load& load, std::size_t connections, std::size_t requests) {
  const std::int64_t begin = now_ns();
  const std::int64_t give_up = begin + 120'000'000'000;
  std::size_t sent = 0;
  for (; sent < std::min(connections, requests); ++sent) load.send_request(load.add_client(), now_ns());
  std::size_t failed_at_once = 0;
  while (load.outcomes_.size() < requests && now_ns() < give_up) {
    load.poll(give_up);
    while (sent < requests && !load.idle_.empty()) {
      const std::size_t i = load.idle_.back();
      load.idle_.pop_back();
      load.send_request(i, now_ns());
      ++sent;
    }
    // The places of those whose connection was lost or closed are filled again.
    const bool lost = std::exchange(load.lost_, false);
    for (std::size_t i = 0; lost && sent < requests && i < load.clients_.size(); ++i)
      if (load.clients_[i].fd < 0 && !load.clients_[i].waiting) {
        load.send_request(i, now_ns());
        ++sent;
        if (load.clients_[i].fd < 0 && ++failed_at_once > requests) return 1;
      }
  }
  report(load.outcomes_, begin, static_cast<double>(now_ns() - begin) * 1e-9);
  return load.outcomes_.size() == requests ? 0 : 1;
}

int open_loop(Load& load, double rate, double seconds, std::int64_t timeout) {
  const auto total = static_cast<std::size_t>(rate * seconds);
  const double gap = 1e9 / rate;
  std::vector<std::size_t> closed;  // clients without a connection
  struct Out {
    std::size_t client;
    std::uint64_t generation;
    std::int64_t until;
  };
  std::deque<Out> out;
  const std::int64_t begin = now_ns() + 1'000'000;
  std::size_t sent = 0;
  while (load.outcomes_.size() < total) {
    std::int64_t now = now_ns();
    for (; !out.empty(); out.pop_front()) {
      const Client& c = load.clients_[out.front().client];
      const bool over = !c.waiting || c.generation != out.front().generation;
      if (!over && out.front().until > now) break;
      if (!over) load.fail(out.front().client);
      if (load.clients_[out.front().client].fd < 0) closed.push_back(out.front().client);
    }
    const auto due_of = [&](std::size_t n) { return begin + static_cast<std::int64_t>(static_cast<double>(n) * gap); };
    while (sent < total && due_of(sent) <= now) {
      std::size_t i = 0;
      if (!load.idle_.empty()) {
        i = load.idle_.back();
        load.idle_.pop_back();
      } else if (!closed.empty()) {
        i = closed.back();
        closed.pop_back();
        if (load.clients_[i].fd >= 0 || load.clients_[i].waiting) continue;  // was listed twice
      } else {
        i = load.add_client();
      }
      load.send_request(i, due_of(sent));
      out.push_back({i, load.clients_[i].generation, due_of(sent) + timeout});
      ++sent;
      now = now_ns();
    }
    std::int64_t next = sent < total ? due_of(sent) : now + 100'000'000;
    if (!out.empty()) next = std::min(next, out.front().until);
    load.poll(next);
  }
  report(load.outcomes_, begin, static_cast<double>(now_ns() - begin) * 1e-9);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
  if (argc == 5 && std::string_view(argv[1]) == "closed") {
    Load load(std::atoi(argv[2]));
    return closed_loop(load, std::strtoul(argv[3], nullptr, 10), std::strtoul(argv[4], nullptr, 10));
  }
  if (argc == 6 && std::string_view(argv[1]) == "open") {
    Load load(std::atoi(argv[2]));
    return open_loop(load, std::atof(argv[3]), std::atof(argv[4]), std::atoll(argv[5]) * 1'000'000);
  }
  std::fprintf(stderr, "usage: http_paced closed PORT CONNECTIONS REQUESTS | open PORT RATE SECONDS TIMEOUT_MS\n");
  return 2;
}

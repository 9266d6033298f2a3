// Load that wrk does not make. One thread, epoll.
//   http_load echo    PORT CONNECTIONS SECONDS   64-byte messages, one in flight a connection
//   http_load connect PORT CONNECTIONS SECONDS   a new connection per request: GET with Connection: close, read to the
//   end http_load many    PORT CONNECTIONS SECONDS   all connections open and active http_load idle    PORT CONNECTIONS
//   0         one request each, prints "ready", holds them until stdin ends
// Prints one line of JSON: requests, errors, seconds, p50_us, p99_us.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

static int ep;
static int port;
static std::int64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

enum class Mode { echo, connect, many, idle };
struct Client {
  int fd = -1;
  std::int64_t begin = 0;
  std::size_t received = 0;
};
static std::vector<Client> clients;
static std::vector<std::uint32_t> latencies;
static std::uint64_t requests;
static std::uint64_t errors;
static const std::string kGet = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
static const std::string kGetClose = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
static const std::string kMessage(64, 'x');

static bool open_client(std::size_t i) {
  Client& c = clients[i];
  c.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (c.fd < 0) return false;
  const int one = 1;
  setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<std::uint16_t>(port));
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(c.fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 && errno != EINPROGRESS) return false;
  epoll_event e{};
  e.events = EPOLLOUT | EPOLLIN | EPOLLET;
  e.data.u64 = i;
  c.received = 0;
  c.begin = 0;
  return epoll_ctl(ep, EPOLL_CTL_ADD, c.fd, &e) == 0;
}

static void send_request(Client& c, const std::string& text) {
  c.begin = now_ns();
  c.received = 0;
  if (send(c.fd, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size())) ++errors;
}

static void done(Client& c) {
  ++requests;
  latencies.push_back(static_cast<std::uint32_t>(std::min<std::int64_t>((now_ns() - c.begin) / 1000, 0xffff'ffff)));
}

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  const std::string_view name = argv[1];
  const Mode mode = name == "echo"      ? Mode::echo
                    : name == "connect" ? Mode::connect
                    : name == "many"    ? Mode::many
                                        : Mode::idle;
  port = std::atoi(argv[2]);
  const auto n = static_cast<std::size_t>(std::atoi(argv[3]));
  const double seconds = std::atof(argv[4]);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  ep = epoll_create1(0);
  clients.resize(n);
  const std::string& text = mode == Mode::echo ? kMessage : mode == Mode::connect ? kGetClose : kGet;
  static char in[65536];
  std::size_t opened = 0;
  std::size_t answered_once = 0;
  std::int64_t begin = now_ns();
  std::int64_t end = INT64_MAX;
  const bool many = mode == Mode::many || mode == Mode::idle;
  epoll_event events[512];
  bool measuring = !many;
  if (measuring) end = begin + static_cast<std::int64_t>(seconds * 1e9);
  const std::int64_t give_up = begin + static_cast<std::int64_t>((seconds + 60) * 1e9);
  for (std::int64_t now = begin; now < end && now < give_up; now = now_ns()) {
    for (int burst = 0; opened < n && burst < 64; ++burst)
      if (!open_client(opened++)) ++errors;
    const int count = epoll_wait(ep, events, 512, 10);
    for (int i = 0; i < count; ++i) {
      const std::size_t index = events[i].data.u64;
      Client& c = clients[index];
      if (c.begin == 0 && (events[i].events & EPOLLOUT) != 0) send_request(c, text);
      if ((events[i].events & EPOLLIN) == 0) continue;
      bool closed = false;
      for (;;) {
        const ssize_t r = recv(c.fd, in, sizeof in, 0);
        if (r > 0) {
          c.received += static_cast<std::size_t>(r);
          if (static_cast<std::size_t>(r) == sizeof in || mode == Mode::connect) continue;
          break;
        }
        closed = r == 0 || errno != EAGAIN;
        break;
      }
      if (mode == Mode::connect) {
        if (!closed) continue;
        if (c.received == 0)
          ++errors;
        else
          done(c);
        close(c.fd);
        if (!open_client(index)) ++errors;
        continue;
      }
      if (closed) {
        ++errors;
        close(c.fd);
        c.fd = -1;
        continue;
      }
      const bool complete =
          mode == Mode::echo
              ? c.received >= kMessage.size()
              : c.received >= 13 && std::string_view(in, sizeof in).find("Hello, World!") != std::string_view::npos;
      if (!complete) continue;
      done(c);
      if (many && !measuring) {
        if (++answered_once == n) {
          if (mode == Mode::idle) {
            std::printf("ready\n");
            std::fflush(stdout);
            char b = 0;
            while (read(0, &b, 1) > 0) {
            }
            return 0;
          }
          std::printf("measuring\n");  // what opening them all cost is not the requests'
          std::fflush(stdout);
          measuring = true;
          requests = 0;
          latencies.clear();
          begin = now_ns();
          end = begin + static_cast<std::int64_t>(seconds * 1e9);
          for (Client& other : clients)
            if (other.fd >= 0) send_request(other, text);
        }
        continue;
      }
      send_request(c, text);
    }
  }
  const double took = static_cast<double>(now_ns() - begin) * 1e-9;
  std::sort(latencies.begin(), latencies.end());
  const auto at = [&](double q) {
    return latencies.empty() ? 0U : latencies[static_cast<std::size_t>(q * static_cast<double>(latencies.size() - 1))];
  };
  std::printf("{\"requests\": %llu, \"errors\": %llu, \"seconds\": %.3f, \"p50_us\": %u, \"p99_us\": %u}\n",
              static_cast<unsigned long long>(requests), static_cast<unsigned long long>(errors), took, at(0.5),
              at(0.99));
  return 0;
}

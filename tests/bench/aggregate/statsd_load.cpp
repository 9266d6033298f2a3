// Sends StatsD lines over TCP as fast as they are taken, and says what they add up to.
//
//   statsd_load PORT CONNECTIONS LINES mixed|tags|counters     to 127.0.0.1; LINES in all, rounded up to whole blocks
//
// A block of lines is laid out once and sent again and again, so that the generator costs little beside the server:
//   mixed     of ten lines six are counters, two timers, one is a gauge and one a set's member, of 1,000 names
//   tags      the same of 100 names with two tags, one of which has ten values
//   counters  the same names as mixed, but counters only
// Each connection sends whole blocks, a last counter "sent.CONNECTION" with value 1, and closes its side. Then it waits
// until the server closes its own: that is when all has been read. Prints one JSON object: lines and bytes sent, the
// sum of all counters, how many timers, and the seconds from the first line to the last close. Knows nothing of fiberd.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::size_t kBlockLines = 20'000;

struct Block {
  std::string text;
  std::uint64_t counted = 0;
  std::uint64_t timers = 0;
};

Block make_block(std::string_view mode) {
  const bool tags = mode == "tags";
  const bool counters = mode == "counters";
  Block b;
  for (std::size_t i = 0; i < kBlockLines; ++i) {
    const std::size_t series = i * 7919 % 1000;
    const std::string name =
        tags ? "app.request." + std::to_string(series % 100) : "app.request." + std::to_string(series);
    std::string end = tags ? "|#env:prod,host:web" + std::to_string(series / 100) : "";
    end += '\n';
    switch (counters ? 0 : i % 10) {
      case 6:
      case 7:
        b.text += name + ".time:" + std::to_string(1 + i % 997) + "|ms" + end;
        ++b.timers;
        break;
      case 8: b.text += name + ".level:" + std::to_string(i % 100) + "|g" + end; break;
      case 9: b.text += name + ".users:u" + std::to_string(i % 50) + "|s" + end; break;
      default:
        b.text += name + ".count:" + std::to_string(1 + i % 3) + "|c" + end;
        b.counted += 1 + i % 3;
        break;
    }
  }
  return b;
}

struct Connection {
  int fd = -1;
  std::uint64_t blocks = 0;  // left
  std::string_view rest;
  std::string marker;
  bool marked = false;
  bool closed = false;  // our side
};

int open_connection(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    std::perror("connect");
    std::exit(1);
  }
  return fd;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    (void)std::fprintf(stderr, "usage: statsd_load PORT CONNECTIONS LINES mixed|tags|counters\n");
    return 2;
  }
  (void)::signal(SIGPIPE, SIG_IGN);
  const int port = std::atoi(argv[1]);
  const auto count = static_cast<std::size_t>(std::atoi(argv[2]));
  const auto lines = static_cast<std::uint64_t>(std::atoll(argv[3]));
  const Block block = make_block(argv[4]);
  std::vector<Connection> connections(count);
  std::vector<pollfd> polls(count);
  std::uint64_t blocks = (lines + kBlockLines - 1) / kBlockLines;
  const std::uint64_t all = blocks;
  for (std::size_t i = 0; i < count; ++i) {
    Connection& c = connections[i];
    c.fd = open_connection(port);
    c.blocks = blocks / (count - i);
    blocks -= c.blocks;
    c.marker = "sent." + std::to_string(i) + ":1|c\n";
    polls[i] = {c.fd, POLLOUT, 0};
  }
  const auto begin = std::chrono::steady_clock::now();
  std::uint64_t bytes = 0;
  std::size_t open = count;
  while (open != 0) {
    if (::poll(polls.data(), polls.size(), 60'000) <= 0) {
      (void)std::fprintf(stderr, "statsd_load: nothing is taken any more\n");
      return 1;
    }
    for (std::size_t i = 0; i < count; ++i) {
      if (polls[i].fd < 0 || polls[i].revents == 0) continue;
      Connection& c = connections[i];
      if (c.rest.empty() && c.blocks != 0) {
        --c.blocks;
        c.rest = block.text;
      } else if (c.rest.empty() && !c.marked) {
        c.marked = true;
        c.rest = c.marker;
      }
      if (!c.rest.empty()) {
        const ssize_t n = ::send(c.fd, c.rest.data(), c.rest.size(), MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN) {
          std::perror("send");
          return 1;
        }
        if (n > 0) {
          c.rest.remove_prefix(static_cast<std::size_t>(n));
          bytes += static_cast<std::uint64_t>(n);
        }
      }
      if (c.closed) {
        char rest[256];
        if (::recv(c.fd, rest, sizeof rest, MSG_DONTWAIT) > 0) continue;
        ::close(c.fd);
        polls[i].fd = -1;
        --open;
      } else if (c.rest.empty() && c.blocks == 0 && c.marked) {
        (void)::shutdown(c.fd, SHUT_WR);
        c.closed = true;
        polls[i].events = POLLIN;
      }
    }
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  (void)std::printf("{\"lines\": %llu, \"bytes\": %llu, \"counted\": %llu, \"timers\": %llu, \"seconds\": %.6f}\n",
                    static_cast<unsigned long long>(all * kBlockLines + count), static_cast<unsigned long long>(bytes),
                    static_cast<unsigned long long>(all * block.counted + count),
                    static_cast<unsigned long long>(all * block.timers), seconds);
  return 0;
}

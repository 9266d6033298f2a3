// The hand-written loop: what a single-threaded epoll server costs with nothing around it. HTTP with keep-alive and
// pipelining (the end of a head is looked for, the path is compared, nothing else is checked), a file by sendfile from
// a descriptor that stays open, and TCP echo on a second port.
//   epoll_loop HTTP_PORT TCP_PORT FILE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

static int ep;
static int file_fd;
static std::size_t file_size;
static char out[65536];
static char hello[256];
static std::size_t hello_size;
static char hello_close[256];
static std::size_t hello_close_size;
static char file_head[256];
static std::size_t file_head_size;

struct Connection {
  bool http = true;
  std::string rest;     // an incomplete head
  std::string pending;  // an answer the socket did not take
  std::size_t file_left = 0;
  off_t file_at = 0;
  bool registered = false;
};
static std::vector<Connection> connections;

static void make_heads() {
  static std::time_t last;
  const std::time_t now = std::time(nullptr);
  if (now == last) return;
  last = now;
  char date[40];
  std::tm t{};
  gmtime_r(&now, &t);
  std::strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &t);
  hello_size = static_cast<std::size_t>(std::snprintf(
      hello, sizeof hello,
      "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!", date));
  hello_close_size =
      static_cast<std::size_t>(std::snprintf(hello_close, sizeof hello_close,
                                             "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: text/plain\r\nConnection: "
                                             "close\r\nContent-Length: 13\r\n\r\nHello, World!",
                                             date));
  file_head_size = static_cast<std::size_t>(std::snprintf(
      file_head, sizeof file_head,
      "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %zu\r\n\r\n", date,
      file_size));
}

static int listen_on(int port, bool defer) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (defer) setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &one, sizeof one);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<std::uint16_t>(port));
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 || listen(fd, 4096) != 0) {
    std::perror("listen");
    std::exit(1);
  }
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.fd = fd;
  epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
  return fd;
}

static void close_connection(int fd) {
  connections[static_cast<std::size_t>(fd)] = Connection{};
  close(fd);
}

static void want(int fd, Connection& c) {
  if (c.registered) return;
  c.registered = true;
  epoll_event e{};
  e.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP;
  e.data.fd = fd;
  epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

/// False: the socket is full; goes on at EPOLLOUT.
static bool push(int fd, Connection& c) {
  while (!c.pending.empty()) {
    const ssize_t n = send(fd, c.pending.data(), c.pending.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    c.pending.erase(0, static_cast<std::size_t>(n));
  }
  while (c.file_left != 0) {
    const ssize_t n = sendfile(fd, file_fd, &c.file_at, c.file_left);
    if (n <= 0) return false;
    c.file_left -= static_cast<std::size_t>(n);
  }
  return true;
}

static void serve_http(int fd, Connection& c) {
  static char in[65536];
  for (;;) {
    if ((!c.pending.empty() || c.file_left != 0) && !push(fd, c)) return want(fd, c);
    const ssize_t n = recv(fd, in, sizeof in, 0);
    if (n == 0) return close_connection(fd);
    if (n < 0) {
      if (errno == EAGAIN) return want(fd, c);
      return close_connection(fd);
    }
    std::string_view data(in, static_cast<std::size_t>(n));
    if (!c.rest.empty()) {
      c.rest.append(data);
      data = c.rest;
    }
    std::size_t size = 0;
    bool close_after = false;
    for (std::size_t end = 0; (end = data.find("\r\n\r\n")) != std::string_view::npos;) {
      const std::string_view head = data.substr(0, end + 2);
      close_after = head.find("\r\nConnection: close\r\n") != std::string_view::npos;
      if (head.starts_with("GET /files/")) {
        std::memcpy(out + size, file_head, file_head_size);
        size += file_head_size;
        c.file_left = file_size;
        c.file_at = 0;
      } else {
        std::memcpy(out + size, close_after ? hello_close : hello, close_after ? hello_close_size : hello_size);
        size += close_after ? hello_close_size : hello_size;
      }
      data.remove_prefix(end + 4);
      if (c.file_left != 0 || size > sizeof out - 512) break;
    }
    const std::string left(data);
    if (!left.empty() || !c.rest.empty()) c.rest = left;
    const ssize_t sent = size == 0 ? 0 : send(fd, out, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return close_connection(fd);
    const std::size_t done = sent < 0 ? 0 : static_cast<std::size_t>(sent);
    if (done < size) c.pending.assign(out + done, size - done);
    if (!push(fd, c)) return want(fd, c);
    if (close_after) return close_connection(fd);
    if (static_cast<std::size_t>(n) < sizeof in) return want(fd, c);  // a short read: nothing more is there
  }
}

static void serve_echo(int fd, Connection& c) {
  static char in[65536];
  for (;;) {
    const ssize_t n = recv(fd, in, sizeof in, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) return close_connection(fd);
    if (n < 0) return want(fd, c);
    if (send(fd, in, static_cast<std::size_t>(n), MSG_NOSIGNAL) < 0) return close_connection(fd);
    if (static_cast<std::size_t>(n) < sizeof in) return want(fd, c);
  }
}

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  signal(SIGPIPE, SIG_IGN);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  connections.resize(limit.rlim_max + 16 < 100'000 ? limit.rlim_max + 16 : 100'000);
  file_fd = open(argv[3], O_RDONLY);
  struct stat st {};
  if (file_fd < 0 || fstat(file_fd, &st) != 0) return 1;
  file_size = static_cast<std::size_t>(st.st_size);
  ep = epoll_create1(0);
  const int http = listen_on(std::atoi(argv[1]), true);
  const int tcp = listen_on(std::atoi(argv[2]), false);
  epoll_event events[256];
  for (;;) {
    const int n = epoll_wait(ep, events, 256, -1);
    make_heads();
    for (int i = 0; i < n; ++i) {
      const int fd = events[i].data.fd;
      if (fd == http || fd == tcp) {
        const int client = accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client < 0) continue;
        Connection& c = connections[static_cast<std::size_t>(client)];
        c = Connection{};
        c.http = fd == http;
        if (c.http)
          serve_http(client, c);
        else
          want(client, c);
        continue;
      }
      Connection& c = connections[static_cast<std::size_t>(fd)];
      if (c.http)
        serve_http(fd, c);
      else
        serve_echo(fd, c);
    }
  }
}

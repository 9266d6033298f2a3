// The hand-written loop over TLS: what a single-threaded epoll server on OpenSSL costs with nothing around it.
// OpenSSL's own BIO over the socket; a read, a write, and epoll_wait for whoever is ready, level-triggered, so that no
// read finds nothing. The end of a head is looked for, nothing else is checked; each answer is the same text.
//   tls_epoll_loop PORT CERTIFICATE KEY
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

namespace {

int ep;
char hello[256];
std::size_t hello_size;

struct Connection {
  SSL* ssl = nullptr;
  std::string rest;  // an incomplete head
};
std::vector<Connection> connections;

void make_head() {
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
}

void close_connection(int fd) {
  Connection& c = connections[static_cast<std::size_t>(fd)];
  SSL_free(c.ssl);
  c = Connection{};
  close(fd);
}

/// What did not succeed: the rest is awaited, or it is over.
void falter(int fd, SSL* ssl, int result) {
  const int error = SSL_get_error(ssl, result);
  if (error == SSL_ERROR_WANT_READ) return;
  ERR_clear_error();
  close_connection(fd);
}

void serve(int fd) {
  static char in[16384];
  Connection& c = connections[static_cast<std::size_t>(fd)];
  if (SSL_is_init_finished(c.ssl) == 0) {
    const int result = SSL_do_handshake(c.ssl);
    if (result != 1) return falter(fd, c.ssl, result);
    if (SSL_has_pending(c.ssl) == 0) return;
  }
  do {
    const int n = SSL_read(c.ssl, in, sizeof in);
    if (n <= 0) return falter(fd, c.ssl, n);
    std::string_view data(in, static_cast<std::size_t>(n));
    if (!c.rest.empty()) {
      c.rest.append(data);
      data = c.rest;
    }
    for (std::size_t end = 0; (end = data.find("\r\n\r\n")) != std::string_view::npos;) {
      data.remove_prefix(end + 4);
      const int sent = SSL_write(c.ssl, hello, static_cast<int>(hello_size));
      if (sent <= 0) return falter(fd, c.ssl, sent);
    }
    const std::string left(data);
    if (!left.empty() || !c.rest.empty()) c.rest = left;
  } while (SSL_has_pending(c.ssl) != 0);
}

SSL_CTX* make_context(const char* certificate, const char* key) {
  SSL_CTX* const c = SSL_CTX_new(TLS_server_method());
  if (SSL_CTX_use_certificate_chain_file(c, certificate) != 1 ||
      SSL_CTX_use_PrivateKey_file(c, key, SSL_FILETYPE_PEM) != 1) {
    ERR_print_errors_fp(stderr);
    std::exit(1);
  }
  SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_read_ahead(c, 1);
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  return c;
}

int listen_on(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &one, sizeof one);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<std::uint16_t>(port));
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 || listen(fd, 4096) != 0) {
    std::perror("listen");
    std::exit(1);
  }
  return fd;
}

void watch(int fd) {
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.fd = fd;
  epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  signal(SIGPIPE, SIG_IGN);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  connections.resize(limit.rlim_max + 16 < 100'000 ? limit.rlim_max + 16 : 100'000);
  SSL_CTX* const context = make_context(argv[2], argv[3]);
  ep = epoll_create1(0);
  const int listener = listen_on(std::atoi(argv[1]));
  watch(listener);
  epoll_event events[256];
  for (;;) {
    const int n = epoll_wait(ep, events, 256, -1);
    make_head();
    for (int i = 0; i < n; ++i) {
      const int fd = events[i].data.fd;
      if (fd != listener) {
        serve(fd);
        continue;
      }
      const int client = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (client < 0) continue;
      Connection& c = connections[static_cast<std::size_t>(client)];
      c.ssl = SSL_new(context);
      SSL_set_fd(c.ssl, client);
      SSL_set_accept_state(c.ssl);
      watch(client);
      serve(client);
    }
  }
}

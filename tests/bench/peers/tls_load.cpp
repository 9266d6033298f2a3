// Handshakes without end: so many connections at once, each of which shakes hands, asks GET / once, reads the answer,
// says goodbye and is followed by another. `full`: with a new session each; `resumed`: with a ticket of the connection
// before it in the same place. TLS 1.3, certificates are not looked at.
//   tls_load full|resumed PORT CONNECTIONS SECONDS
// Prints one line of JSON.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

struct Place {
  int fd = -1;
  SSL* ssl = nullptr;
  SSL_SESSION* ticket = nullptr;
  bool asked = false;
  std::string in;
};

int ep;
SSL_CTX* context;
bool resumes;
std::uint16_t port;
std::vector<Place> places;
unsigned long long done, resumed, failed;

double now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

int keep_ticket(SSL* ssl, SSL_SESSION* session) {
  Place& p = *static_cast<Place*>(SSL_get_app_data(ssl));
  if (p.ticket != nullptr) SSL_SESSION_free(p.ticket);
  p.ticket = session;
  return 1;
}

void begin(std::size_t i) {
  Place& p = places[i];
  p.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int one = 1;
  setsockopt(p.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(p.fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 && errno != EINPROGRESS) {
    std::perror("connect");
    std::exit(1);
  }
  p.ssl = SSL_new(context);
  SSL_set_app_data(p.ssl, &p);
  SSL_set_fd(p.ssl, p.fd);
  SSL_set_connect_state(p.ssl);
  if (resumes && p.ticket != nullptr) SSL_set_session(p.ssl, p.ticket);
  p.asked = false;
  p.in.clear();
  epoll_event e{};
  e.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  e.data.u64 = i;
  epoll_ctl(ep, EPOLL_CTL_ADD, p.fd, &e);
}

void end(std::size_t i, bool good) {
  Place& p = places[i];
  good ? ++done : ++failed;
  if (good && SSL_session_reused(p.ssl) != 0) ++resumed;
  if (good) SSL_shutdown(p.ssl);
  ERR_clear_error();
  SSL_free(p.ssl);
  p.ssl = nullptr;
  close(p.fd);
  begin(i);
}

bool waits(SSL* ssl, int result) {
  const int error = SSL_get_error(ssl, result);
  return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

void step(std::size_t i) {
  static char in[4096];
  Place& p = places[i];
  if (!p.asked) {
    const int n = SSL_write(p.ssl, kGet.data(), static_cast<int>(kGet.size()));
    if (n <= 0) {
      if (!waits(p.ssl, n)) end(i, false);
      return;
    }
    p.asked = true;
  }
  for (;;) {
    const int n = SSL_read(p.ssl, in, sizeof in);
    if (n <= 0) {
      if (!waits(p.ssl, n)) end(i, false);
      return;
    }
    p.in.append(in, static_cast<std::size_t>(n));
    if (p.in.find("Hello, World!") != std::string::npos) return end(i, true);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  signal(SIGPIPE, SIG_IGN);
  resumes = std::strcmp(argv[1], "resumed") == 0;
  port = static_cast<std::uint16_t>(std::atoi(argv[2]));
  places.resize(static_cast<std::size_t>(std::atoi(argv[3])));
  context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  if (resumes) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, &keep_ticket);
  }
  ep = epoll_create1(EPOLL_CLOEXEC);
  const double start = now();
  const double until = start + std::atof(argv[4]);
  for (std::size_t i = 0; i < places.size(); ++i) begin(i);
  epoll_event events[256];
  while (now() < until) {
    const int n = epoll_wait(ep, events, 256, 10);
    for (int k = 0; k < n; ++k) step(events[k].data.u64);
  }
  std::printf("{\"handshakes\": %llu, \"resumed\": %llu, \"failed\": %llu, \"seconds\": %.3f}\n", done, resumed, failed,
              now() - start);
  return done == 0 ? 1 : 0;
}

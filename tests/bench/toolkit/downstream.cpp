// The downstream of the worker-pool experiment: SLOTS threads, each of which serves one connection at a time, as a
// database's backends or a pre-forking server do. Connections that no thread has taken yet wait in the accept queue.
// Knows nothing of fiberd.
//
//   downstream PORT SLOTS HOLD_US LOGIN_US
//
// Messages are 64 bytes. The first one of a connection logs in and takes the slot LOGIN_US, each later one HOLD_US;
// both are answered with 64 bytes.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

void hold(long us) {
  if (us == 0) return;
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  t.tv_nsec += us * 1000;
  t.tv_sec += t.tv_nsec / 1'000'000'000;
  t.tv_nsec %= 1'000'000'000;
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr) == EINTR) {
  }
}

void serve(int listener, long hold_us, long login_us) {
  prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
  for (;;) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    char message[64];
    for (bool first = true; recv(fd, message, sizeof message, MSG_WAITALL) == sizeof message; first = false) {
      hold(first ? login_us : hold_us);
      if (send(fd, message, sizeof message, MSG_NOSIGNAL) != sizeof message) break;
    }
    close(fd);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[1])));
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 || listen(listener, 4096) != 0) {
    std::perror("downstream");
    return 1;
  }
  std::vector<std::thread> slots;
  for (int i = 0; i < std::atoi(argv[2]); ++i)
    slots.emplace_back(serve, listener, std::atol(argv[3]), std::atol(argv[4]));
  for (std::thread& t : slots) t.join();
}

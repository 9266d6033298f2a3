// The downstream of the worker-pool experiment: SLOTS slots, each of which serves one connection at a time, as a
// database's backends or a pre-forking server do. Connections that have no slot yet wait in the accept queue. One
// thread and epoll, so that what it costs itself is little; knows nothing of fiberd.
//
//   downstream PORT SLOTS HOLD_US LOGIN_US
//
// Messages are 64 bytes. The first one of a connection logs in and takes the slot LOGIN_US, each later one HOLD_US;
// both are answered with 64 bytes when that time is over.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

constexpr std::int64_t kNever = INT64_MAX;

std::int64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

struct Slot {
  int fd = -1;
  bool logged_in = false;
  std::size_t received = 0;
  std::int64_t until = kNever;  // the message that is being served is answered then
};

class Downstream {
 public:
  Downstream(int listener, std::size_t slots, std::int64_t hold, std::int64_t login)
      : listener_(listener), ep_(epoll_create1(0)), hold_(hold), login_(login), slots_(slots) {
    epoll_event e{};
    e.events = EPOLLIN | EPOLLET;
    e.data.u64 = slots;
    epoll_ctl(ep_, EPOLL_CTL_ADD, listener_, &e);
  }

  [[noreturn]] void run() {
    std::vector<epoll_event> events(slots_.size() + 1);
    for (;;) {
      std::int64_t next = kNever;
      for (const Slot& s : slots_) next = std::min(next, s.until);
      timespec wait{};
      const std::int64_t ns = std::max<std::int64_t>(next - now_ns(), 0);
      wait.tv_sec = ns / 1'000'000'000;
      wait.tv_nsec = ns % 1'000'000'000;
      const int count =
          epoll_pwait2(ep_, events.data(), static_cast<int>(events.size()), next == kNever ? nullptr : &wait, nullptr);
      for (int i = 0; i < count; ++i)
        if (events[static_cast<std::size_t>(i)].data.u64 < slots_.size())
          read(slots_[events[static_cast<std::size_t>(i)].data.u64]);
      const std::int64_t now = now_ns();
      for (Slot& s : slots_)
        if (s.until <= now) reply(s);
      for (std::size_t i = 0; i < slots_.size(); ++i)
        if (slots_[i].fd < 0 && !accept_into(i)) break;
    }
  }

 private:
  bool accept_into(std::size_t i) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return false;
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    slots_[i] = {fd, false, 0, kNever};
    epoll_event e{};
    e.events = EPOLLIN | EPOLLET;
    e.data.u64 = i;
    epoll_ctl(ep_, EPOLL_CTL_ADD, fd, &e);
    return true;
  }

  void read(Slot& s) {
    while (s.fd >= 0) {
      const ssize_t n = recv(s.fd, message_, sizeof message_ - s.received, 0);
      if (n < 0 && errno == EAGAIN) return;
      if (n <= 0) return free(s);
      s.received += static_cast<std::size_t>(n);
      if (s.received < sizeof message_) continue;
      s.received = 0;
      s.until = now_ns() + (s.logged_in ? hold_ : login_);
      s.logged_in = true;
      return;  // nobody sends more before it is answered
    }
  }

  void reply(Slot& s) {
    s.until = kNever;
    if (send(s.fd, message_, sizeof message_, MSG_NOSIGNAL) != sizeof message_) free(s);
  }

  static void free(Slot& s) {
    close(s.fd);
    s = {};
  }

  int listener_;
  int ep_;
  std::int64_t hold_;
  std::int64_t login_;
  std::vector<Slot> slots_;
  char message_[64] = {};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
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
  Downstream(listener, std::strtoul(argv[2], nullptr, 10), std::atoll(argv[3]) * 1000, std::atoll(argv[4]) * 1000)
      .run();
}

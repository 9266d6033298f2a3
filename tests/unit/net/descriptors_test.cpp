// What a listener does when descriptors run out. In a child process, whose limit may be lowered.
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <vector>

#include "core/base/log.hpp"
#include "core/metric/registry.hpp"
#include "tests/unit/net/support.hpp"

using namespace fiberd;
using namespace net_test;
using namespace std::chrono_literals;
using net::Endpoint;
using net::Listener;
using net::ListenerOptions;
using net::TcpStream;

namespace {

std::atomic<int> log_lines{0};

struct Report {
  int refused = 0;
  int log_lines = 0;
  long cpu_us = 0;
  int served_after = 0;
  int refused_clients_saw_end = 0;
};

long cpu_us() {
  rusage u{};
  (void)::getrusage(RUSAGE_SELF, &u);
  return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1'000'000 + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

/// In the child: lets descriptors run out for a second while clients wait, then makes room.
Report run_out() {
  Report report;
  set_log_sink([](LogLevel, std::string_view) noexcept { ++log_lines; });
  metric::Registry registry;
  metric::Counter& refused = registry.counter(registry.family({.name = "refused_total", .help = "h"}));
  auto rt = start(2);
  rt->run([&] {
    ListenerOptions options;
    options.metrics.refused_descriptors = &refused;
    auto listener = Listener::bind(*rt, *Endpoint::parse("127.0.0.1:0"), options);
    if (!listener || !(*listener)->serve(echo)) return;
    (*listener)->pause();
    std::vector<TcpStream> clients;
    for (int i = 0; i < 40; ++i) clients.push_back(*TcpStream::connect((*listener)->local(), Deadline::in(5s)));
    // Every number below the limit is taken now.
    std::vector<int> fill;
    for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) fill.push_back(fd);
    const long before = cpu_us();
    (*listener)->resume();
    (void)runtime::sleep_for(1s);
    report.cpu_us = cpu_us() - before;
    report.refused = static_cast<int>(refused.value());
    report.log_lines = log_lines.load();
    for (const int fd : fill) ::close(fd);
    for (TcpStream& c : clients) {
      std::string s = " ";
      if (c.write_all(bytes(std::string_view("x"))) && c.read_full(bytes(s), Deadline::in(5s)) && s == "x")
        ++report.served_after;
      else
        ++report.refused_clients_saw_end;
    }
    clients.clear();
    (*listener)->stop();
    for (int i = 0; i < 5000 && (*listener)->connections() != 0; ++i) (void)runtime::sleep_for(1ms);
  });
  return report;
}

}  // namespace

TEST_CASE("without descriptors a listener neither spins nor floods the log, and recovers", "[net][listener]") {
  int pipe_fd[2];
  REQUIRE(::pipe(pipe_fd) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    rlimit limit{};
    (void)::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 200;
    (void)::setrlimit(RLIMIT_NOFILE, &limit);
    ::alarm(20);
    const Report report = run_out();
    ::_exit(::write(pipe_fd[1], &report, sizeof report) == sizeof report ? 0 : 1);
  }
  ::close(pipe_fd[1]);
  Report report;
  const ssize_t n = ::read(pipe_fd[0], &report, sizeof report);
  ::close(pipe_fd[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 0);
  REQUIRE(n == sizeof report);
  INFO("refused " << report.refused << ", log lines " << report.log_lines << ", CPU " << report.cpu_us << " us, served "
                  << report.served_after);
  // One attempt per pause of 5, 10, 20 … 640 ms, and each refuses one client at most. Fewer, when one Processor was
  // already accepting while another freed its reserve.
  CHECK(report.refused >= 1);
  CHECK(report.refused <= 12);
  CHECK(report.log_lines >= 1);
  CHECK(report.log_lines <= 2);
  CHECK(report.cpu_us < 300'000);
  CHECK(report.served_after == 40 - report.refused_clients_saw_end);
  // One more may be refused between the count and the moment there was room again.
  CHECK(report.refused_clients_saw_end >= report.refused);
  CHECK(report.refused_clients_saw_end <= report.refused + 1);
}

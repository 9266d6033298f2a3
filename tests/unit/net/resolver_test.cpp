#include "core/net/resolver.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/net/support.hpp"

using namespace fiberd;
using namespace net_test;
using namespace std::chrono_literals;
using net::AddressFamily;
using net::Endpoint;
using net::ResolveErrc;
using net::Resolver;

namespace {

/// A name server on loopback: answers by the first label of the question. Its own thread, no fibers.
class NameServer {
 public:
  NameServer() : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof a;
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&a), size) != 0) throw std::bad_alloc();
    (void)::getsockname(fd_, reinterpret_cast<sockaddr*>(&a), &size);
    endpoint_ = Endpoint::from(reinterpret_cast<sockaddr*>(&a), size);
    thread_ = std::thread([this] { run(); });
  }
  ~NameServer() {
    stop_.store(true);
    thread_.join();
    ::close(fd_);
  }
  [[nodiscard]] Resolver resolver(std::chrono::milliseconds timeout = 5s, int tries = 1) const {
    return Resolver({.servers = {endpoint_}, .timeout = timeout, .tries = tries});
  }
  [[nodiscard]] int questions() const { return questions_.load(); }

 private:
  void run() {
    while (!stop_.load()) {
      pollfd p{fd_, POLLIN, 0};
      if (::poll(&p, 1, 20) <= 0) continue;
      std::array<unsigned char, 1500> m{};
      sockaddr_in from{};
      socklen_t size = sizeof from;
      const ssize_t n = ::recvfrom(fd_, m.data(), m.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (n < 17) continue;
      ++questions_;
      const std::string label(reinterpret_cast<char*>(&m[13]), m[12]);
      std::size_t end = 12;
      while (m[end] != 0) end += m[end] + std::size_t{1};
      const unsigned type = m[end + 2];
      end += 5;
      if (label == "silent") continue;
      if (label == "garbage") {
        std::memset(&m[2], 0xff, end - 2);
        (void)::sendto(fd_, m.data(), end, 0, reinterpret_cast<sockaddr*>(&from), size);
        continue;
      }
      m[2] = 0x81;  // an answer; recursion
      m[3] = label == "missing" ? 0x83 : label == "broken" ? 0x82 : 0x80;
      m[6] = m[7] = m[8] = m[9] = m[10] = m[11] = 0;
      unsigned count = label == "many" ? 20 : 2;
      if (m[3] != 0x80 || (type == 1 && label == "six") || (type == 28 && label == "four")) count = 0;
      if (type != 1 && type != 28) count = 0;
      for (unsigned i = 0; i < count; ++i) {
        const unsigned char head[] = {0xc0, 12, 0, static_cast<unsigned char>(type), 0, 1, 0, 0, 0, 60, 0};
        std::memcpy(&m[end], head, sizeof head);
        end += sizeof head;
        if (type == 1) {
          const unsigned char address[] = {4, 10, 0, 0, static_cast<unsigned char>(i + 1)};
          std::memcpy(&m[end], address, sizeof address);
          end += sizeof address;
        } else {
          unsigned char address[17] = {16, 0xfd};
          address[16] = static_cast<unsigned char>(i + 1);
          std::memcpy(&m[end], address, sizeof address);
          end += sizeof address;
        }
      }
      m[7] = static_cast<unsigned char>(count);
      (void)::sendto(fd_, m.data(), end, 0, reinterpret_cast<sockaddr*>(&from), size);
    }
  }

  int fd_;
  Endpoint endpoint_;
  std::atomic<bool> stop_{false};
  std::atomic<int> questions_{0};
  std::thread thread_;
};

bool contains(const std::vector<Endpoint>& all, const char* text) {
  for (const Endpoint& e : all)
    if (e.to_string() == text) return true;
  return false;
}

}  // namespace

TEST_CASE("addresses of both families, of one, of none", "[net][resolver]") {
  NameServer server;
  Expectations expect;
  start(2)->run([&] {
    const Resolver r = server.resolver();
    auto a = r.resolve("both.test.", 80, Deadline::in(5s));
    expect(a && a->size() == 4 && contains(*a, "10.0.0.1:80") && contains(*a, "10.0.0.2:80") &&
               contains(*a, "[fd00::1]:80"),
           a ? "addresses" : a.error().message());
    a = r.resolve("both.test.", 80, Deadline::in(5s), nullptr, AddressFamily::v4);
    expect(a && a->size() == 2 && contains(*a, "10.0.0.1:80"), "IPv4 only");
    a = r.resolve("six.test.", 80, Deadline::in(5s));
    expect(a && a->size() == 2 && contains(*a, "[fd00::2]:80"), "a name with IPv6 addresses only");
    a = r.resolve("six.test.", 80, Deadline::in(5s), nullptr, AddressFamily::v4);
    expect(!a && a.error() == make_error_code(ResolveErrc::no_address), "no address of this family");
    a = r.resolve("missing.test.", 80, Deadline::in(5s));
    expect(!a && a.error() == make_error_code(ResolveErrc::not_found), a ? "found" : a.error().message());
    a = r.resolve("broken.test.", 80, Deadline::in(5s));
    expect(!a && a.error() == make_error_code(ResolveErrc::server_failure), a ? "found" : a.error().message());
    a = r.resolve("many.test.", 80, Deadline::in(5s), nullptr, AddressFamily::v4);
    expect(a && a->size() == 20, "many");
  });
  INFO(expect.broken());
  CHECK(expect.broken().empty());
}

TEST_CASE("literals and names of the hosts file ask nobody", "[net][resolver]") {
  NameServer server;
  Expectations expect;
  start(1)->run([&] {
    const Resolver r = server.resolver();
    for (const char* host : {"127.0.0.1", "::1", "[::1]"}) {
      const auto a = r.resolve(host, 443);
      expect(a && a->size() == 1 && (*a)[0].port() == 443, host);
    }
    expect(!r.resolve("127.0.0.1", 1, Deadline::never(), nullptr, AddressFamily::v6), "an address of the other family");
    const auto local = r.resolve("localhost", 80, Deadline::in(5s), nullptr, AddressFamily::v4);
    expect(local && contains(*local, "127.0.0.1:80"), local ? "no loopback" : local.error().message());
    for (const std::string& bad :
         {std::string(), std::string(300, 'a'), std::string("a\0b", 3), std::string(80, 'a') + ".test."}) {
      const auto a = r.resolve(bad, 80, Deadline::in(5s));
      expect(!a && a.error() == make_error_code(ResolveErrc::bad_name), a ? "resolved" : a.error().message());
    }
  });
  INFO(expect.broken());
  CHECK(expect.broken().empty());
  CHECK(server.questions() == 0);
}

TEST_CASE("a silent server: the deadline, the cancellation and the time-out are obeyed, and nobody else waits",
          "[net][resolver]") {
  NameServer server;
  Expectations expect;
  start(2)->run([&] {
    const Resolver r = server.resolver();
    const std::int64_t begin = monotonic_now();
    Latch done(3);
    runtime::CancelSource cancel;
    (void)runtime::spawn("deadline", [&] {
      const auto a = r.resolve("silent.test.", 80, Deadline::in(200ms));
      const std::int64_t took = monotonic_now() - begin;
      expect(!a && a.error() == std::errc::timed_out, a ? "resolved" : a.error().message());
      expect(took >= 200'000'000 && took < 300'000'000, "at its deadline: " + std::to_string(took));
      done.done();
    });
    (void)runtime::spawn("cancellation", [&] {
      const auto a = r.resolve("silent.test.", 80, Deadline::never(), &cancel);
      const std::int64_t took = monotonic_now() - begin;
      expect(!a && a.error() == std::errc::operation_canceled, a ? "resolved" : a.error().message());
      expect(took < 200'000'000, "at once: " + std::to_string(took));
      done.done();
    });
    (void)runtime::spawn("other", [&] {
      const auto a = r.resolve("both.test.", 80, Deadline::in(5s));
      expect(a.has_value(), "another look-up");
      expect(monotonic_now() - begin < 100'000'000, "not held up");
      done.done();
    });
    (void)runtime::sleep_for(100ms);
    cancel.cancel();
    expect(done.wait(), "all end");

    const Resolver impatient = server.resolver(30ms, 2);
    const std::int64_t again = monotonic_now();
    const auto a = impatient.resolve("silent.test.", 80, Deadline::in(5s), nullptr, AddressFamily::v4);
    expect(!a && a.error() == std::errc::timed_out, "c-ares's own time-out");
    expect(monotonic_now() - again < 1'000'000'000, "two tries of 30 and 60 ms");
    const int before = server.questions();
    expect(!r.resolve("both.test.", 80, Deadline::at(1)), "a deadline already past");
    expect(!r.resolve("both.test.", 80, Deadline::never(), &cancel), "cancelled before");
    expect(server.questions() == before, "asks nobody");
  });
  INFO(expect.broken());
  CHECK(expect.broken().empty());
}

TEST_CASE("responses that are none, and nobody at the port", "[net][resolver]") {
  NameServer server;
  Expectations expect;
  start(1)->run([&] {
    const auto a = server.resolver(50ms, 2).resolve("garbage.test.", 80, Deadline::in(5s), nullptr, AddressFamily::v4);
    expect(!a, "garbage is no answer");
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in s{};
    s.sin_family = AF_INET;
    s.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof s;
    (void)::bind(fd, reinterpret_cast<sockaddr*>(&s), size);
    (void)::getsockname(fd, reinterpret_cast<sockaddr*>(&s), &size);
    ::close(fd);
    const Resolver nobody(
        {.servers = {Endpoint::from(reinterpret_cast<sockaddr*>(&s), size)}, .timeout = 5s, .tries = 1});
    // One family: of two questions the second one's send would take the error, and the first would wait.
    const auto b = nobody.resolve("both.test.", 80, Deadline::in(10s), nullptr, AddressFamily::v4);
    expect(!b && b.error() == make_error_code(ResolveErrc::server_failure), b ? "resolved" : b.error().message());
  });
  INFO(expect.broken());
  CHECK(expect.broken().empty());
}

TEST_CASE("many look-ups at once", "[net][resolver]") {
  NameServer server;
  Expectations expect;
  start(2)->run([&] {
    const Resolver r = server.resolver(2s, 3);
    Latch done(100);
    for (int i = 0; i < 100; ++i)
      (void)runtime::spawn("look-up", [&, i] {
        const auto a = r.resolve("n" + std::to_string(i) + ".test.", 80, Deadline::in(10s));
        expect(a && a->size() == 4, a ? "addresses" : a.error().message());
        done.done();
      });
    expect(done.wait(), "all end");
  });
  INFO(expect.broken());
  CHECK(expect.broken().empty());
}

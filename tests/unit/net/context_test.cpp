// The calls of net under a Context: each obeys it, one that is done makes no system call, and the error says whose
// deadline or whose end it was.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/context/waits.hpp"
#include "core/net/asio_stream.hpp"
#include "core/net/listener.hpp"
#include "core/net/resolver.hpp"
#include "core/net/tcp_stream.hpp"
#include "tests/unit/net/support.hpp"

using namespace fiberd;
using namespace net_test;
using namespace std::chrono_literals;
using context::Context;
using context::errc;
using net::Endpoint;
using net::Listener;
using net::TcpStream;

namespace {

constexpr std::string_view kText = "text";

int text_file() {
  const int fd = ::memfd_create("text", MFD_CLOEXEC);
  if (fd < 0 || ::write(fd, kText.data(), kText.size()) != static_cast<ssize_t>(kText.size())) throw std::bad_alloc();
  return fd;
}

/// A TCP socket that listens and whose queue is full: who connects waits.
struct FullQueue {
  FullQueue() {
    fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(fd, 0) != 0 ||
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      throw std::bad_alloc();
    endpoint = Endpoint::from(reinterpret_cast<const sockaddr*>(&address), size);
    for (int& c : clients) {
      c = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      (void)::connect(c, reinterpret_cast<sockaddr*>(&address), size);
    }
  }
  ~FullQueue() {
    for (const int c : clients) ::close(c);
    ::close(fd);
  }
  int fd;
  int clients[3]{};
  Endpoint endpoint;
};

/// A name server that hears and says nothing.
struct MuteServer {
  MuteServer() {
    fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      throw std::bad_alloc();
    endpoint = Endpoint::from(reinterpret_cast<const sockaddr*>(&address), size);
  }
  ~MuteServer() { ::close(fd); }
  [[nodiscard]] bool was_asked() const {
    char buffer[512];
    return ::recv(fd, buffer, sizeof buffer, 0) > 0;
  }
  int fd;
  Endpoint endpoint;
};

/// Everything that a stream can do under a context; `file` holds kText.
struct Call {
  const char* name;
  bool reads;
  std::function<std::error_code(TcpStream&, const Context&, int file, Deadline own)> run;
};

std::vector<Call> calls() {
  static std::string room(4, ' ');
  const auto parts = [] { return iovec{const_cast<char*>(kText.data()), kText.size()}; };
  return {
      {"read_some", true,
       [](TcpStream& s, const Context& c, int, Deadline own) { return error_of(s.read_some(c, bytes(room), own)); }},
      {"read_full", true,
       [](TcpStream& s, const Context& c, int, Deadline own) { return error_of(s.read_full(c, bytes(room), own)); }},
      {"write_some", false,
       [](TcpStream& s, const Context& c, int, Deadline own) { return error_of(s.write_some(c, bytes(kText), own)); }},
      {"write_all", false,
       [](TcpStream& s, const Context& c, int, Deadline own) { return error_of(s.write_all(c, bytes(kText), own)); }},
      {"writev_some", false,
       [parts](TcpStream& s, const Context& c, int, Deadline own) {
         const iovec part = parts();
         return error_of(s.writev_some(c, {&part, 1}, own));
       }},
      {"writev_all", false,
       [parts](TcpStream& s, const Context& c, int, Deadline own) {
         iovec part = parts();
         return error_of(s.writev_all(c, {&part, 1}, own));
       }},
      {"sendfile_some", false,
       [](TcpStream& s, const Context& c, int file, Deadline own) {
         return error_of(s.sendfile_some(c, file, 0, kText.size(), own));
       }},
      {"sendfile_all", false,
       [](TcpStream& s, const Context& c, int file, Deadline own) {
         return error_of(s.sendfile_all(c, file, 0, kText.size(), own));
       }},
      {"asio read", true,
       [](TcpStream& s, const Context& c, int, Deadline own) -> std::error_code {
         const context::Cancelable timed = context::with_deadline(c, own);
         net::AsioStream stream(own.is_never() ? c : timed.context, s);
         boost::system::error_code error;
         (void)stream.read_some(boost::asio::buffer(room.data(), room.size()), error);
         timed.cancel();
         return error;
       }},
  };
}

/// Writes until the kernel takes no more, neither by write nor by sendfile: into a Unix socket whose buffer is full a
/// kernel before 6.5 lets sendfile add pages to the last packet, 16 times.
void fill(TcpStream& s, int file) {
  const std::string block(65'536, 'x');
  while (s.try_write(bytes(block))) {
  }
  for (off_t at = 0; ::sendfile(s.native_handle(), file, &at, 1) > 0; at = 0) {
  }
}

}  // namespace

TEST_CASE("under a context that is done no call reads or writes anything", "[net][context]") {
  Expectations expect;
  const int file = text_file();
  start(1)->run([&] {
    for (const bool by_deadline : {false, true}) {
      for (const Call& call : calls()) {
        Pair pair;
        auto c = context::with_cancel(context::background());
        std::error_code wanted = errc::canceled;
        if (by_deadline) {
          // It passes while the fiber computes: no timer had a chance to say so.
          c = context::with_timeout(context::background(), 1ms);
          wanted = errc::deadline_exceeded;
          while (monotonic_now() <= c.context.deadline().ns()) {
          }
        }
        c.cancel();
        std::string got(kText.size(), ' ');
        expect(pair.b.write_all(bytes(kText)).has_value(), call.name);
        expect(call.run(pair.a, c.context, file, Deadline::never()) == wanted, call.name);
        const Result<std::size_t> unread = pair.a.try_read(bytes(got));
        expect(unread.has_value() && *unread == kText.size() && got == kText, call.name);
        const Result<std::size_t> unsent = pair.b.try_read(bytes(got));
        expect(!unsent && unsent.error() == std::errc::operation_would_block, call.name);
      }
    }
  });
  ::close(file);
  CHECK(expect.broken() == "");
}

TEST_CASE("a deadline of the call's own that has passed while the fiber computed: nothing is read or written either",
          "[net][context]") {
  Expectations expect;
  const int file = text_file();
  start(1)->run([&] {
    for (const Call& call : calls()) {
      Pair pair;
      std::string got(kText.size(), ' ');
      expect(pair.b.write_all(bytes(kText)).has_value(), call.name);
      const Deadline deadline = Deadline::in(1ms);
      while (monotonic_now() <= deadline.ns()) {
      }
      expect(call.run(pair.a, context::background(), file, deadline) == std::errc::timed_out, call.name);
      const Result<std::size_t> unread = pair.a.try_read(bytes(got));
      expect(unread.has_value() && *unread == kText.size() && got == kText, call.name);
      const Result<std::size_t> unsent = pair.b.try_read(bytes(got));
      expect(!unsent && unsent.error() == std::errc::operation_would_block, call.name);
    }
  });
  ::close(file);
  CHECK(expect.broken() == "");
}

TEST_CASE("under a context that is done nothing is connected, accepted or asked", "[net][context]") {
  Expectations expect;
  const MuteServer server;
  auto rt = start(1);
  rt->run([&] {
    const auto c = context::with_deadline(context::background(), Deadline::at(1));
    auto listener = Listener::bind(*rt, *Endpoint::parse("127.0.0.1:0"), {});
    if (!expect(listener.has_value(), "bind")) return;
    expect(error_of(TcpStream::connect(c.context, (*listener)->local())) == errc::deadline_exceeded, "connect");
    expect(error_of((*listener)->accept(context::background(), Deadline::in(20ms))) == std::errc::timed_out,
           "nobody had connected");
    auto client = TcpStream::connect(context::background(), (*listener)->local());
    expect(client.has_value(), "connect under background");
    expect(error_of((*listener)->accept(c.context)) == errc::deadline_exceeded, "accept");
    expect((*listener)->connections() == 0, "nobody was accepted");
    expect((*listener)->accept(context::background(), Deadline::in(5s)).has_value(), "but could be");
    const net::Resolver resolver({.servers = {server.endpoint}});
    expect(error_of(resolver.resolve(c.context, "fiberd.test", 80)) == errc::deadline_exceeded, "resolve");
    expect(error_of(resolver.resolve(c.context, "127.0.0.1", 80)) == errc::deadline_exceeded, "resolve an address");
    expect(resolver.resolve(context::background(), "127.0.0.1", 80).has_value(), "resolve under background");
    expect(!server.was_asked(), "the name server was not asked");
  });
  CHECK(expect.broken() == "");
}

TEST_CASE("a wait of a stream ends when its context does, and the error says why", "[net][context]") {
  Expectations expect;
  const int file = text_file();
  start(2)->run([&] {
    for (const Call& call : calls()) {
      {
        Pair pair;
        fill(pair.a, file);
        const auto c = context::with_cancel(context::background());
        (void)runtime::spawn("cancel", [f = c.cancel] {
          (void)runtime::sleep_for(2ms);
          f(std::make_error_code(std::errc::io_error));
        });
        expect(call.run(pair.a, c.context, file, Deadline::never()) == errc::canceled, call.name);
        expect(c.context.cause() == std::errc::io_error, call.name);
      }
      {
        Pair pair;
        fill(pair.a, file);
        const auto c = context::with_timeout(context::background(), 5ms);
        expect(call.run(pair.a, c.context, file, Deadline::in(5s)) == errc::deadline_exceeded, call.name);
        expect(c.context.err() == errc::deadline_exceeded, "the context knows");
        c.cancel();
      }
    }
  });
  ::close(file);
  CHECK(expect.broken() == "");
}

TEST_CASE("the earlier of the stream's, the call's and the context's deadline wins, and the error says which",
          "[net][context]") {
  Expectations expect;
  const std::error_code timed_out = std::make_error_code(std::errc::timed_out);
  const int file = text_file();
  start(1)->run([&] {
    for (const Call& call : calls()) {
      if (call.name == std::string_view("asio read")) continue;  // its own deadline is a context
      Pair pair;
      fill(pair.a, file);
      const auto c = context::with_timeout(context::background(), 1h);
      expect(call.run(pair.a, c.context, file, Deadline::in(2ms)) == timed_out, call.name);
      expect(!c.context.done(), "the context has not ended");
      pair.a.set_deadline(Deadline::in(2ms));
      expect(call.run(pair.a, c.context, file, Deadline::never()) == timed_out, call.name);
      expect(!c.context.done(), "the context has not ended");
      c.cancel();
      const Deadline same = Deadline::in(2ms);
      const auto equal = context::with_deadline(context::background(), same);
      pair.a.set_deadline(same);
      expect(call.run(pair.a, equal.context, file, Deadline::never()) == errc::deadline_exceeded, call.name);
    }
  });
  ::close(file);
  CHECK(expect.broken() == "");
}

TEST_CASE("a stream that is shut down says so, not that its context was cancelled", "[net][context]") {
  Expectations expect;
  const int file = text_file();
  start(1)->run([&] {
    for (const Call& call : calls()) {
      Pair pair;
      fill(pair.a, file);
      const auto c = context::with_timeout(context::background(), 1h);
      (void)runtime::spawn("shutdown", [&] { pair.a.shutdown(); });
      const std::error_code error = call.run(pair.a, c.context, file, Deadline::never());
      expect(error == std::errc::operation_canceled && error != errc::canceled, call.name);
      expect(!c.context.done(), call.name);
      c.cancel();
    }
  });
  ::close(file);
  CHECK(expect.broken() == "");
}

TEST_CASE("loops that never have to wait look at their context all the same", "[net][context]") {
  std::error_code written;
  std::size_t read = 0;
  constexpr std::size_t kMost = std::size_t{1} << 30U;
  start(2)->run([&] {
    Pair pair;
    const auto c = context::with_cancel(context::background());
    (void)runtime::spawn("reader", [&, cancel = c.cancel] {
      std::string room(std::size_t{1} << 20U, ' ');
      for (;;) {
        const Result<std::size_t> n = pair.b.read_some(bytes(room));
        if (!n || *n == 0) break;
        read += *n;
        if (read > room.size()) cancel();
      }
    });
    const std::string block(65'536, 'x');
    std::vector<iovec> parts(kMost / block.size(), iovec{const_cast<char*>(block.data()), block.size()});
    written = error_of(pair.a.writev_all(c.context, parts));
    (void)pair.a.shutdown_write();
    std::byte end[1];
    (void)pair.a.read_some(end, Deadline::in(10ms));
  });
  CHECK(written == errc::canceled);
  CHECK(read > 0);
  CHECK(read < kMost);
}

TEST_CASE("connect, accept and resolve end when their context does", "[net][context]") {
  Expectations expect;
  const FullQueue full;
  const MuteServer server;
  auto rt = start(2);
  rt->run([&] {
    auto listener = Listener::bind(*rt, *Endpoint::parse("127.0.0.1:0"), {});
    if (!expect(listener.has_value(), "bind")) return;
    const net::Resolver resolver({.servers = {server.endpoint}});
    const std::vector<std::pair<const char*, std::function<std::error_code(const Context&, Deadline)>>> waits = {
        {"connect",
         [&](const Context& c, Deadline own) { return error_of(TcpStream::connect(c, full.endpoint, own)); }},
        {"accept", [&](const Context& c, Deadline own) { return error_of((*listener)->accept(c, own)); }},
        {"resolve",
         [&](const Context& c, Deadline own) {
           return error_of(resolver.resolve(c, "fiberd.test", 80, net::AddressFamily::any, own));
         }},
    };
    for (const auto& [name, wait] : waits) {
      const auto canceled = context::with_cancel(context::background());
      (void)runtime::spawn("cancel", [f = canceled.cancel] {
        (void)runtime::sleep_for(5ms);
        f();
      });
      expect(wait(canceled.context, Deadline::never()) == errc::canceled, name);
      const auto timed = context::with_timeout(context::background(), 20ms);
      expect(wait(timed.context, Deadline::in(5s)) == errc::deadline_exceeded, name);
      expect(timed.context.done(), name);
      const auto later = context::with_timeout(context::background(), 1h);
      const std::error_code own = wait(later.context, Deadline::in(20ms));
      expect(own == std::make_error_code(std::errc::timed_out) && !later.context.done(), name);
      later.cancel();
    }
    const auto alive = context::with_cancel(context::background());
    Latch stopping(1);
    (void)runtime::spawn("stop", [&] {
      (void)runtime::sleep_for(5ms);
      (*listener)->stop();
      stopping.done();
    });
    const std::error_code stopped = error_of((*listener)->accept(alive.context));
    expect(stopped == std::errc::operation_canceled && stopped != errc::canceled, "a listener that was stopped");
    alive.cancel();
    expect(stopping.wait(), "stop");
  });
  CHECK(expect.broken() == "");
}

TEST_CASE("a name server that does not answer is not the context's deadline", "[net][context]") {
  std::error_code error;
  bool done = true;
  const MuteServer server;
  start(1)->run([&] {
    const net::Resolver resolver({.servers = {server.endpoint}, .timeout = 5ms, .tries = 1});
    const auto c = context::with_timeout(context::background(), 1h);
    error = error_of(resolver.resolve(c.context, "fiberd.test", 80));
    done = c.context.done();
    c.cancel();
  });
  CHECK(error == std::make_error_code(std::errc::timed_out));
  CHECK_FALSE(done);
}

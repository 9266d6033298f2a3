#include "core/net/tcp_stream.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/unit/net/support.hpp"

using namespace fiberd;
using namespace net_test;
using namespace std::chrono_literals;
using net::Endpoint;
using net::Listener;
using net::TcpStream;

namespace {
std::string pattern(std::size_t size) {
  std::string s(size, '\0');
  std::uint32_t x = 1;
  for (char& c : s) c = static_cast<char>((x = x * 1664525U + 1013904223U) >> 24U);
  return s;
}
void shrink_buffers(const TcpStream& s) {
  const int size = 4096;
  (void)::setsockopt(s.native_handle(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}
}  // namespace

TEST_CASE("echo over IPv4, IPv6 and Unix sockets, with half-close", "[net][stream]") {
  const std::string path = "unix:/tmp/fiberd-test-" + std::to_string(::getpid()) + ".sock";
  for (const unsigned processors : {1U, 2U}) {
    for (const std::string& address : {std::string("127.0.0.1:0"), std::string("[::1]:0"), path}) {
      Expectations expect;
      auto rt = start(processors);
      rt->run([&] {
        auto listener = Listener::bind(*rt, *Endpoint::parse(address), {});
        if (!expect(listener.has_value(), "bind")) return;
        expect((*listener)->serve(echo).has_value(), "serve");
        for (int i = 0; i < 5; ++i) {
          Result<TcpStream> s = TcpStream::connect((*listener)->local(), Deadline::in(5s));
          if (!expect(s.has_value(), "connect")) return;
          const std::string sent = pattern(3000);
          expect(s->write_all(bytes(sent)).has_value(), "write");
          std::string got(sent.size(), ' ');
          expect(s->read_full(bytes(got), Deadline::in(5s)).has_value() && got == sent, "read_full");
          expect(s->write_all(bytes(std::string_view("bye"))).has_value(), "write");
          expect(s->shutdown_write().has_value(), "shutdown_write");
          const Result<std::string> rest = read_all(*s);
          expect(rest.has_value() && *rest == "bye", "the answer to a half-closed client");
          const Result<std::size_t> after = s->read_some(bytes(got));
          expect(after.has_value() && *after == 0, "the end stays the end");
        }
        (*listener)->stop();
      });
      INFO(address << "\n" << expect.broken());
      CHECK(expect.broken().empty());
    }
  }
}

TEST_CASE("bytes and the end that come together are both read", "[net][stream]") {
  // A FIN may be told by the same edge as the bytes before it.
  for (const unsigned processors : {1U, 2U}) {
    Expectations expect;
    auto rt = start(processors);
    rt->run([&] {
      for (int i = 0; i < 300; ++i) {
        Pair p;
        Latch done(1);
        (void)runtime::spawn("reader", [&] {
          const Result<std::string> all = read_all(p.a);
          expect(all.has_value() && *all == "xy", "all bytes");
          done.done();
        });
        runtime::yield();  // usually it waits by now
        (void)p.b.write_all(bytes(std::string_view("x")));
        if (i % 3 == 0) runtime::yield();
        (void)p.b.write_all(bytes(std::string_view("y")));
        p.b.close();
        if (!expect(done.wait(), "the reader sees the end")) return;
      }
    });
    INFO(expect.broken());
    CHECK(expect.broken().empty());
  }
}

TEST_CASE("deadlines: the call's, the stream's, and one already past", "[net][stream]") {
  Expectations expect;
  start(2)->run([&] {
    Pair p;
    std::string buffer(16, ' ');
    auto r = p.a.read_some(bytes(buffer), Deadline::in(5ms));
    expect(!r && r.error() == std::errc::timed_out, "the call's deadline");
    p.a.set_read_deadline(Deadline::in(5ms));
    r = p.a.read_some(bytes(buffer), Deadline::in(10s));
    expect(!r && r.error() == std::errc::timed_out, "the stream's is earlier");
    // Past: no system call, so the bytes that are there stay there.
    expect(p.b.write_some(bytes(std::string_view("abc"))).has_value(), "write");
    r = p.a.read_some(bytes(buffer));
    expect(!r && r.error() == std::errc::timed_out, "a deadline already past");
    p.a.set_deadline(Deadline::never());
    r = p.a.read_some(bytes(buffer), Deadline::in(5s));
    expect(r && *r == 3, "the bytes are still there");

    shrink_buffers(p.a);
    const std::string big = pattern(1 << 20);
    const std::int64_t begin = monotonic_now();
    const auto w = p.a.write_all(bytes(big), Deadline::in(20ms));
    expect(!w && w.error() == std::errc::timed_out, "a write's deadline");
    expect(monotonic_now() - begin >= 20'000'000, "not before the deadline");
  });
  INFO(expect.broken());
  CHECK(expect.broken().empty());
}

TEST_CASE("cancellation ends a read, a write and a connect", "[net][stream]") {
  Expectations expect;
  start(2)->run([&] {
    Pair p;
    runtime::CancelSource cancel;
    shrink_buffers(p.a);
    Latch done(2);
    (void)runtime::spawn("reader", [&] {
      std::string buffer(16, ' ');
      const auto r = p.a.read_some(bytes(buffer), Deadline::never(), &cancel);
      expect(!r && r.error() == std::errc::operation_canceled, "read");
      done.done();
    });
    (void)runtime::spawn("writer", [&] {
      const std::string big = pattern(1 << 20);
      const auto w = p.a.write_all(bytes(big), Deadline::never(), &cancel);
      expect(!w && w.error() == std::errc::operation_canceled, "write");
      done.done();
    });
    (void)runtime::sleep_for(5ms);
    cancel.cancel();
    expect(done.wait(), "both end");
    const auto c = TcpStream::connect(*Endpoint::parse("127.0.0.1:1"), Deadline::never(), &cancel);
    expect(!c && c.error() == std::errc::operation_canceled, "a connect that was cancelled before");
  });
  INFO(expect.broken());
  CHECK(expect.broken().empty());
}

TEST_CASE("connecting to nobody", "[net][stream]") {
  Expectations expect;
  start(1)->run([&] {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof a;
    (void)::bind(fd, reinterpret_cast<sockaddr*>(&a), size);
    (void)::getsockname(fd, reinterpret_cast<sockaddr*>(&a), &size);
    const auto s = TcpStream::connect(Endpoint::from(reinterpret_cast<sockaddr*>(&a), size), Deadline::in(5s));
    expect(!s && s.error() == std::errc::connection_refused, "bound, not listening");
    ::close(fd);
    const auto past = TcpStream::connect(*Endpoint::parse("127.0.0.1:1"), Deadline::at(1));
    expect(!past && past.error() == std::errc::timed_out, "a deadline already past");
    const auto missing = TcpStream::connect(*Endpoint::parse("unix:/nowhere/at/all"), Deadline::in(5s));
    expect(!missing && missing.error() == std::errc::no_such_file_or_directory, "no such Unix socket");
  });
  INFO(expect.broken());
  CHECK(expect.broken().empty());
}

TEST_CASE("close from another fiber", "[net][stream]") {
  for (const unsigned processors : {1U, 2U}) {
    Expectations expect;
    start(processors)->run([&] {
      for (int i = 0; i < 200; ++i) {
        Pair p;
        shrink_buffers(p.a);
        Latch done(3);
        const std::string big = pattern(1 << 18);
        (void)runtime::spawn("reader", [&] {
          std::string buffer(16, ' ');
          const auto r = p.a.read_some(bytes(buffer));
          expect(!r && (r.error() == std::errc::operation_canceled || r.error() == std::errc::bad_file_descriptor),
                 r ? "no error" : r.error().message());
          done.done();
        });
        (void)runtime::spawn("writer", [&] {
          const auto w = p.a.write_all(bytes(big));
          expect(!w && (w.error() == std::errc::operation_canceled || w.error() == std::errc::bad_file_descriptor),
                 w ? "no error" : w.error().message());
          done.done();
        });
        if (i % 2 == 0) (void)runtime::sleep_for(100us);
        (void)runtime::spawn("closer", [&] {
          p.a.close();
          p.a.close();
          done.done();
        });
        if (!expect(done.wait(), "all end")) return;
        expect(!p.a.is_open() && p.a.native_handle() == -1, "closed by whoever was last");
        std::string buffer(16, ' ');
        const auto r = p.a.read_some(bytes(buffer));
        expect(!r && r.error() == std::errc::bad_file_descriptor, "use after close");
        expect(error_of(p.a.shutdown_write()) == std::errc::bad_file_descriptor, "shutdown after close");
        // The other end learns of it: the descriptor is really gone.
        p.b.set_read_deadline(Deadline::in(5s));
        (void)read_all(p.b);
        std::string one(1, ' ');
        const auto end = p.b.read_some(bytes(one));
        expect((end && *end == 0) || (!end && end.error() == std::errc::connection_reset), "the peer sees the end");
      }
    });
    INFO(expect.broken());
    CHECK(expect.broken().empty());
  }
}

TEST_CASE("a stream with a single owner: shut down by others, closed by itself", "[net][stream]") {
  Expectations expect;
  start(2)->run([&] {
    for (int i = 0; i < 100; ++i) {
      Pair p;
      p.a.set_single_owner();
      Latch done(1);
      std::atomic<bool> begun{false};
      (void)runtime::spawn("owner", [&] {
        TcpStream mine = std::move(p.a);  // the mark moves along
        std::string buffer(16, ' ');
        const auto first = mine.read_some(bytes(buffer), Deadline::in(5s));
        expect(first && *first == 5, "reads");
        expect(mine.write_all(bytes(std::string_view("fine"))).has_value(), "writes");
        p.a = std::move(mine);
        begun = true;
        const auto r = p.a.read_some(bytes(buffer));
        expect(!r && r.error() == std::errc::operation_canceled, "its wait ends");
        p.a.close();
        p.a.close();
        expect(!p.a.is_open() && p.a.native_handle() == -1, "closed");
        const auto after = p.a.read_some(bytes(buffer));
        expect(!after && after.error() == std::errc::bad_file_descriptor, "use after close");
        done.done();
      });
      (void)p.b.write_all(bytes(std::string_view("hello")));
      for (int k = 0; k < 1'000'000 && !begun; ++k) runtime::yield();
      if (!expect(begun, "answered")) return;
      p.a.shutdown();
      if (!expect(done.wait(), "ends")) return;
      p.b.set_read_deadline(Deadline::in(5s));
      const auto rest = read_all(p.b);
      expect(rest && *rest == "fine", "what was written, and the end: the descriptor is gone");
    }
  });
  INFO(expect.broken());
  CHECK(expect.broken().empty());
}

TEST_CASE("the number of a descriptor is not reused under a call", "[net][stream]") {
  Expectations expect;
  start(2)->run([&] {
    for (int i = 0; i < 200; ++i) {
      Pair victim;
      Latch done(2);
      std::atomic<bool> stop{false};
      (void)runtime::spawn("user", [&] {
        std::string buffer(8, ' ');
        for (;;) {
          const auto r = victim.a.read_some(bytes(buffer), Deadline::in(1s));
          if (!r) break;
          expect(buffer.substr(0, *r).find('!') == std::string::npos, "never another socket's bytes");
        }
        done.done();
      });
      (void)runtime::spawn("feeder", [&] {
        while (!stop.load()) {
          if (!victim.b.write_some(bytes(std::string_view("x")))) break;
          runtime::yield();
        }
        done.done();
      });
      runtime::yield();
      victim.a.close();
      Pair other;  // may get the number
      (void)other.b.write_some(bytes(std::string_view("!!!!")));
      stop.store(true);
      if (!expect(done.wait(), "both end")) return;
    }
  });
  INFO(expect.broken());
  CHECK(expect.broken().empty());
}

TEST_CASE("vectored writes arrive whole and in order when the kernel takes them in pieces", "[net][stream]") {
  Expectations expect;
  start(2)->run([&] {
    Pair p;
    shrink_buffers(p.a);
    const std::string all = pattern(400'000);
    Latch done(1);
    (void)runtime::spawn("writer", [&] {
      std::vector<iovec> parts;
      std::size_t at = 0;
      for (std::size_t i = 0; at < all.size(); ++i) {  // more than IOV_MAX parts, empty ones among them
        const std::size_t size = std::min<std::size_t>(i % 5 == 0 ? 0 : (i * 37) % 400, all.size() - at);
        parts.push_back({const_cast<char*>(all.data()) + at, size});
        at += size;
      }
      parts.push_back({nullptr, 0});
      expect(parts.size() > 1024, "more than one call's worth");
      expect(p.a.writev_all(parts).has_value(), "writev_all");
      p.a.close();
      done.done();
    });
    const Result<std::string> got = read_all(p.b);
    expect(got && *got == all, "whole and in order");
    expect(done.wait(), "the writer ends");
  });
  INFO(expect.broken());
  CHECK(expect.broken().empty());
}

TEST_CASE("sendfile", "[net][stream]") {
  Expectations expect;
  char name[] = "/tmp/fiberd-sendfile-XXXXXX";
  const int file = ::mkstemp(name);
  REQUIRE(file >= 0);
  ::unlink(name);
  const std::string all = pattern(3'000'000);
  REQUIRE(::write(file, all.data(), all.size()) == static_cast<ssize_t>(all.size()));
  start(2)->run([&] {
    Pair p;
    Latch done(1);
    (void)runtime::spawn("sender", [&] {
      expect(p.a.sendfile_all(file, 1000, all.size() - 1000, Deadline::in(10s)).has_value(), "sendfile_all");
      const auto shorter = p.a.sendfile_all(file, all.size() - 10, 20, Deadline::in(10s));
      expect(!shorter && shorter.error() == std::errc::io_error, "a file that is shorter");
      p.a.close();
      done.done();
    });
    const Result<std::string> got = read_all(p.b);
    expect(got && got->size() == all.size() - 1000 + 10, "size");
    expect(got && got->compare(0, all.size() - 1000, all, 1000) == 0, "content");
    expect(done.wait(), "the sender ends");
  });
  ::close(file);
  INFO(expect.broken());
  CHECK(expect.broken().empty());
}

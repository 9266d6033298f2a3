#pragma once
// Catch's assertions belong to the main thread. Fibers note what they expected, and the test asserts when they are
// done.
#include <sys/socket.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/lock.hpp"
#include "core/base/source_location.hpp"
#include "core/base/unique_function.hpp"
#include "core/net/endpoint.hpp"
#include "core/net/listener.hpp"
#include "core/net/tcp_stream.hpp"
#include "core/runtime/runtime.hpp"

namespace net_test {

class Expectations {
 public:
  bool operator()(bool held, std::string_view what, fiberd::SourceLocation where = fiberd::SourceLocation::current()) {
    if (held) return true;
    std::string text = std::to_string(where.line()) + ": " + std::string(what);
    const fiberd::LockGuard guard(lock_);
    broken_ += text + "\n";
    return false;
  }
  [[nodiscard]] std::string broken() {
    const fiberd::LockGuard guard(lock_);
    return broken_;
  }

 private:
  fiberd::Lock lock_;
  std::string broken_;
};

inline std::unique_ptr<fiberd::runtime::Runtime> start(unsigned processors) {
  auto rt = fiberd::runtime::Runtime::start({.gomaxprocs = processors});
  if (!rt) throw std::system_error(rt.error());
  return std::move(*rt);
}

/// Counts down from fibers; wait() lets other fibers run until it is 0.
class Latch {
 public:
  explicit Latch(int n) : n_(n) {}
  void done() noexcept { n_.fetch_sub(1); }
  /// False when it takes longer than ten seconds.
  [[nodiscard]] bool wait() noexcept {
    for (int i = 0; n_.load() > 0 && i < 10'000; ++i) (void)fiberd::runtime::sleep_for(std::chrono::milliseconds(1));
    return n_.load() <= 0;
  }

 private:
  std::atomic<int> n_;
};

inline std::span<const std::byte> bytes(std::string_view s) { return std::as_bytes(std::span(s.data(), s.size())); }
inline std::span<std::byte> bytes(std::string& s) { return std::as_writable_bytes(std::span(s.data(), s.size())); }

/// Everything up to the end of the stream.
inline fiberd::Result<std::string> read_all(fiberd::net::TcpStream& s) {
  std::string all;
  char buffer[4096];
  for (;;) {
    const auto n = s.read_some(std::as_writable_bytes(std::span(buffer)));
    if (!n) return fiberd::fail(n.error());
    if (*n == 0) return all;
    all.append(buffer, *n);
  }
}

/// Sends back what comes.
inline void echo(fiberd::net::TcpStream s) {
  char buffer[4096];
  for (;;) {
    const auto n = s.read_some(std::as_writable_bytes(std::span(buffer)));
    if (!n || *n == 0) return;
    if (!s.write_all(std::as_bytes(std::span(buffer, *n)))) return;
  }
}

/// A connected pair of streams.
struct Pair {
  Pair() {
    int fd[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) != 0) throw std::bad_alloc();
    a = *fiberd::net::TcpStream::adopt(fd[0]);
    b = *fiberd::net::TcpStream::adopt(fd[1]);
  }
  fiberd::net::TcpStream a;
  fiberd::net::TcpStream b;
};

}  // namespace net_test

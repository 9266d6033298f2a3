#pragma once
// A server that does to a client whatever a test writes down: it answers in pieces, breaks off anywhere, in order or
// by a reset, and says how many connections and requests it has seen. Threads that block, and nothing of fiberd, so
// that the client meets what any other program could do to it. Every wait is bounded.
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "core/net/endpoint.hpp"

namespace fiberd::test {

/// One connection of a client, as the server has it.
class UpstreamPeer {
 public:
  UpstreamPeer(int fd, std::atomic<unsigned>& requests) : fd_(fd), requests_(requests) {
    const timeval patience{10, 0};
    (void)::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    const int on = 1;
    (void)::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  ~UpstreamPeer() { close(); }
  UpstreamPeer(const UpstreamPeer&) = delete;
  UpstreamPeer& operator=(const UpstreamPeer&) = delete;

  /// The next request's head and, if it says how long it is, its body; nothing at the end.
  std::optional<std::string> read_request() {
    std::optional<std::string> head = read_head();
    if (!head) return std::nullopt;
    if (const std::optional<std::string> body = read_body(*head)) return *head + *body;
    return std::nullopt;
  }
  std::optional<std::string> read_head() {
    std::size_t end = 0;
    while ((end = in_.find("\r\n\r\n")) == std::string::npos)
      if (!more()) return std::nullopt;
    ++requests_;
    std::string head = in_.substr(0, end + 4);
    in_.erase(0, end + 4);
    return head;
  }
  /// The body that `head` announces, unframed.
  std::optional<std::string> read_body(const std::string& head) {
    if (head.find("Transfer-Encoding: chunked\r\n") != std::string::npos) return chunked();
    const std::size_t at = head.find("Content-Length: ");
    const std::size_t size = at == std::string::npos ? 0 : std::strtoull(head.c_str() + at + 16, nullptr, 10);
    while (in_.size() < size)
      if (!more()) return std::nullopt;
    std::string body = in_.substr(0, size);
    in_.erase(0, size);
    return body;
  }
  /// False when the client does not take it.
  bool send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  /// Each byte in a segment of its own, as far as the kernel plays along.
  bool send_slowly(std::string_view bytes) const {
    return std::all_of(bytes.begin(), bytes.end(), [this](char c) { return send({&c, 1}); });
  }
  /// FIN; reading goes on.
  void end() const { (void)::shutdown(fd_, SHUT_WR); }
  void reset() {
    const linger now{1, 0};
    (void)::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
  }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  /// Waits until the client has ended or reset the connection; what it sends before goes to `rest`. False: it did not.
  bool wait_for_end(std::string* rest = nullptr) {
    do {
      if (rest != nullptr) *rest += in_;
      in_.clear();
    } while (more());
    return ended_;
  }
  /// As wait_for_end(), without reading: true when the client's end or reset is there.
  [[nodiscard]] bool wait_for_hang_up() const {
    pollfd p{fd_, POLLRDHUP, 0};
    return ::poll(&p, 1, 10'000) > 0;
  }
  [[nodiscard]] const std::string& rest() const noexcept { return in_; }
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  bool more() {
    char data[16384];
    const ssize_t n = ::recv(fd_, data, sizeof data, 0);
    if (n > 0) in_.append(data, static_cast<std::size_t>(n));
    if (n == 0 || (n < 0 && errno != EAGAIN)) ended_ = true;
    return n > 0;
  }
  std::optional<std::string> chunked() {
    std::string body;
    for (;;) {
      std::size_t end = 0;
      while ((end = in_.find("\r\n")) == std::string::npos)
        if (!more()) return std::nullopt;
      const std::size_t size = std::strtoull(in_.c_str(), nullptr, 16);
      in_.erase(0, end + 2);
      while (in_.size() < size + 2)
        if (!more()) return std::nullopt;
      body += in_.substr(0, size);
      in_.erase(0, size + 2);
      if (size == 0) return body;
    }
  }
  int fd_;
  std::atomic<unsigned>& requests_;
  std::string in_;
  bool ended_ = false;
};

/// The n-th connection gets the n-th script, or the last one.
class HostileUpstream {
 public:
  using Script = std::function<void(UpstreamPeer&)>;

  explicit HostileUpstream(std::vector<Script> scripts, const std::string& unix_path = {})
      : scripts_(std::move(scripts)),
        listener_(::socket(unix_path.empty() ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)),
        endpoint_(unix_path.empty() ? net::Endpoint::v4(0x7f000001, 0) : *net::Endpoint::parse("unix:" + unix_path)) {
    if (::bind(listener_, endpoint_.data(), endpoint_.size()) != 0 || ::listen(listener_, 1'024) != 0)
      throw std::system_error(errno, std::system_category());
    if (unix_path.empty()) {
      sockaddr_in at{};
      socklen_t size = sizeof at;
      (void)::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size);
      endpoint_.set_port(ntohs(at.sin_port));
    }
    acceptor_ = std::thread([this] { accept(); });
  }
  ~HostileUpstream() {
    (void)::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    ::close(listener_);
    join();
  }
  HostileUpstream(const HostileUpstream&) = delete;
  HostileUpstream& operator=(const HostileUpstream&) = delete;

  /// Waits until every script that was begun has ended.
  void join() {
    for (;;) {
      std::list<std::thread> threads;
      {
        const std::lock_guard guard(mutex_);
        threads.swap(threads_);
      }
      if (threads.empty()) return;
      for (std::thread& t : threads) t.join();
    }
  }
  [[nodiscard]] const net::Endpoint& endpoint() const noexcept { return endpoint_; }
  [[nodiscard]] std::string url(std::string_view target = "/") const {
    return "http://127.0.0.1:" + std::to_string(endpoint_.port()) + std::string(target);
  }
  [[nodiscard]] unsigned connections() const noexcept { return connections_; }
  /// Heads that were read whole.
  [[nodiscard]] unsigned requests() const noexcept { return requests_; }

 private:
  void accept() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
      if (fd < 0) return;
      const std::size_t n = connections_++;
      const Script& script = scripts_[std::min(n, scripts_.size() - 1)];
      const std::lock_guard guard(mutex_);
      threads_.emplace_back([this, fd, &script] {
        UpstreamPeer peer(fd, requests_);
        script(peer);
      });
    }
  }
  const std::vector<Script> scripts_;
  int listener_;
  net::Endpoint endpoint_;
  std::atomic<unsigned> connections_{0};
  std::atomic<unsigned> requests_{0};
  std::mutex mutex_;
  std::list<std::thread> threads_;
  std::thread acceptor_;
};

/// Answers every request of the connection the same.
inline HostileUpstream::Script answers(std::string answer) {
  return [answer = std::move(answer)](UpstreamPeer& peer) {
    while (peer.read_request() && peer.send(answer)) {
    }
  };
}

}  // namespace fiberd::test

#include "core/net/proxy_acceptor.hpp"

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/net/replace_snapshot.hpp"
#include "core/net/system_calls.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::net {

// Longer than any signature: behind so many bytes nobody doubts whether it is a header.
static constexpr std::size_t kCertain = 12;

std::string_view token_of(ProxyClosed why) noexcept {
  switch (why) {
    case ProxyClosed::untrusted: return "untrusted";
    case ProxyClosed::other_version: return "other_version";
    case ProxyClosed::timeout: return "timeout";
    case ProxyClosed::ended: return "ended";
    case ProxyClosed::resources: return "resources";
    case ProxyClosed::stopping: return "stopping";
  }
  return "unknown";
}

/// A connection whose header has not come whole. Its owner is whoever advances it, or has claimed its stream; the list
/// is for who wants to claim.
struct ProxyAcceptor::Waiting : ListHook {
  Waiting(ProxyAcceptor& a, TcpStream s, Place p, const Endpoint& e, const ProxyPolicy& policy) noexcept
      : acceptor(a),
        place(std::move(p)),
        stream(std::move(s)),
        peer(e),
        limit(Deadline::after(runtime::coarse_now(), policy.patience)),
        headers(policy.headers),
        undecided(policy.headers == ProxyHeaders::optional) {}
  ProxyAcceptor& acceptor;
  Place place;  // outlives the stream
  TcpStream stream;
  const Endpoint peer;
  const Deadline limit;
  const ProxyHeaders headers;
  bool undecided;  // nothing has been taken yet, and it may be no header
  ProxyHeader header{};
};

void ProxyAcceptor::use(Proxied next) {
  replace_and_wait<Proxied>(proxied_, std::make_shared<const Proxied>(std::move(next)));
}

Serving ProxyAcceptor::in_front(const Serving& serving) noexcept {
  Serving front = serving;
  front.on_accept = [](void* self, Admitted&& connection) noexcept {
    static_cast<ProxyAcceptor*>(self)->accept(std::move(connection));
  };
  front.argument = this;
  front.wants_client = true;
  front.connections_per_address = 0;
  front.gate = {};
  return front;
}

void ProxyAcceptor::accept(Admitted&& connection) noexcept {
  const Endpoint& peer = connection.client();
  Waiting* w = nullptr;
  {
    const auto now = proxied_.read();
    const Proxied& to = **now;
    const auto refuse = [&](ProxyClosed why) {
      if (to.metrics != nullptr) count(to.metrics->closed[static_cast<std::size_t>(why)]);
      tell(to, peer, token_of(why));
    };
    const bool trusted = to.policy != nullptr && to.policy->trusted.contains(peer);
    if (to.policy != nullptr && !trusted && to.policy->headers != ProxyHeaders::optional)
      return refuse(ProxyClosed::untrusted);
    Result<TcpStream> stream = connection.take_stream();
    if (!stream) return refuse(ProxyClosed::resources);
    if (!trusted) return deliver(to, std::move(*stream), connection.take_place(), peer, true);
    w = new (std::nothrow) Waiting(*this, std::move(*stream), connection.take_place(), peer, *to.policy);
    if (w == nullptr) return refuse(ProxyClosed::resources);
  }
  waiting_.fetch_add(1, std::memory_order_relaxed);
  {
    const LockGuard guard(lock_);
    all_.push_back(*w);
  }
  advance(*w);
}

/// Reads what is there, and waits for more without a fiber, hands over or closes. By the owner, who is none afterwards.
void ProxyAcceptor::advance(Waiting& w) noexcept {
  static constexpr runtime::IdleHandler kHandler{[](void* argument) noexcept {
                                                   auto& waiting = *static_cast<Waiting*>(argument);
                                                   waiting.acceptor.advance(waiting);
                                                 },
                                                 [](void* argument) noexcept {
                                                   auto& waiting = *static_cast<Waiting*>(argument);
                                                   waiting.acceptor.close(waiting, ProxyClosed::timeout);
                                                 }};
  // That it need not wait, and that then nothing is new, is again and again so only if epoll is full.
  static constexpr unsigned kTries = 16;
  std::array<char, 512> bytes;
  ssize_t before = 0;
  for (unsigned tries = 0; tries < kTries;) {
    const ssize_t n = sys::peek(w.stream.native_handle(), bytes.data(), bytes.size());
    if (n == -EINTR) continue;
    if (n > 0) {
      if (!w.undecided || std::exchange(before, n) != n) tries = 0;
      const Next next = look(w, {bytes.data(), static_cast<std::size_t>(n)}, bytes.size());
      if (next == Next::over) return;
      if (next == Next::read) continue;
    } else if (n == 0 || n != -EAGAIN) {
      return close(w, ProxyClosed::ended);
    }
    if (w.stream.go_idle(kHandler, &w, w.limit)) return;
    ++tries;
  }
  close(w, ProxyClosed::resources);
}

/// `bytes`, of `room` that there was for them, are the next ones, and are in the kernel still.
ProxyAcceptor::Next ProxyAcceptor::look(Waiting& w, std::string_view bytes, std::size_t room) noexcept {
  std::size_t used = 0;
  if (w.undecided) {
    ProxyHeader header;
    const ProxyHeader::State state = header.feed(bytes, used);
    // One that ends in the middle of a signature has said all it will say.
    const bool more = state == ProxyHeader::State::more && bytes.size() < kCertain;
    if (header.why() == ProxyRefusal::signature || (more && w.stream.hung_up())) {
      hand_over(w, false);
      return Next::over;
    }
    if (more) return Next::wait;
    w.undecided = false;
  }
  const ProxyHeader::State state = w.header.feed(bytes, used);
  if (state == ProxyHeader::State::refused) {
    const auto now = proxied_.read();
    const auto why = w.header.why();
    close(w, (*now)->metrics != nullptr ? (*now)->metrics->refused[static_cast<std::size_t>(why)] : nullptr,
          token_of(why));
    return Next::over;
  }
  const unsigned wanted = w.headers == ProxyHeaders::v1 ? 1 : w.headers == ProxyHeaders::v2 ? 2 : 0;
  if (wanted != 0 && w.header.version() != wanted) {
    close(w, ProxyClosed::other_version);
    return Next::over;
  }
  std::array<char, 512> taken;
  for (std::size_t left = used; left != 0;) {
    const ssize_t n = sys::recv(w.stream.native_handle(), taken.data(), std::min(left, taken.size()));
    if (n == -EINTR) continue;
    if (n <= 0) {  // reset meanwhile
      close(w, ProxyClosed::ended);
      return Next::over;
    }
    left -= static_cast<std::size_t>(n);
  }
  if (state == ProxyHeader::State::more) return bytes.size() == room ? Next::read : Next::wait;
  hand_over(w, !w.header.local());
  return Next::over;
}

void ProxyAcceptor::unlist(Waiting& w) noexcept {
  const LockGuard guard(lock_);
  List<Waiting>::remove(w);
}

void ProxyAcceptor::hand_over(Waiting& w, bool named) noexcept {
  unlist(w);
  {
    const auto now = proxied_.read();
    const Proxied& to = **now;
    if (to.metrics != nullptr)
      count(to.metrics->headers[w.header.state() == ProxyHeader::State::done ? w.header.version() : 0]);
    TcpStream stream = std::move(w.stream);
    deliver(to, std::move(stream), std::move(w.place), named ? w.header.source() : w.peer, named);
  }
  delete &w;
  waiting_.fetch_sub(1, std::memory_order_release);
}

/// `counted`: of the client's address, if there is a limit and the address is one that limits count.
void ProxyAcceptor::deliver(const Proxied& to, TcpStream&& stream, Place&& place, const Endpoint& client,
                            bool counted) noexcept {
  const Serving& serving = to.serving;
  const auto refuse = [&](auto* counter) {
    count(counter);  // first: who sees the end finds it counted
    stream.close();
    place.give_back();
  };
  if (serving.gate.admit != nullptr && !serving.gate.admit(serving.gate.argument, client))
    return refuse(serving.metrics != nullptr ? serving.metrics->refused_gate : nullptr);
  if (counted && serving.connections_per_address != 0 && (client.family() == AF_INET || client.family() == AF_INET6) &&
      !place.count_of(client, serving.connections_per_address))
    return refuse(serving.metrics != nullptr ? serving.metrics->refused_address : nullptr);
  to.on_stream(to.argument, std::move(stream), std::move(place), client);
}

void ProxyAcceptor::close(Waiting& w, ProxyClosed why) noexcept {
  const auto now = proxied_.read();
  close(w, (*now)->metrics != nullptr ? (*now)->metrics->closed[static_cast<std::size_t>(why)] : nullptr,
        token_of(why));
}

void ProxyAcceptor::close(Waiting& w, metric::Counter* counter, std::string_view why) noexcept {
  unlist(w);
  count(counter);  // first: who sees the end finds it counted
  w.stream.close();
  w.place.give_back();
  {
    const auto now = proxied_.read();
    tell(**now, w.peer, why);
  }
  delete &w;
  waiting_.fetch_sub(1, std::memory_order_release);
}

void ProxyAcceptor::close_waiting() noexcept {
  for (;;) {
    Waiting* claimed = nullptr;
    {
      const LockGuard guard(lock_);
      for (Waiting* w = all_.front(); w != nullptr && claimed == nullptr; w = all_.after(*w))
        if (w->stream.claim_idle()) claimed = w;
    }
    if (claimed == nullptr) return;  // those that are not idle are being advanced: they go, or are idle soon
    close(*claimed, ProxyClosed::stopping);
  }
}

void ProxyAcceptor::drain(const std::atomic<std::int64_t>& deadline) noexcept {
  if (waiting() == 0) return;
  std::chrono::nanoseconds patience{0};
  if (const auto now = proxied_.read(); (*now)->policy != nullptr) patience = (*now)->policy->drain;
  const std::int64_t until = time_after(monotonic_now(), patience);
  while (waiting() != 0) {
    if (monotonic_now() >= std::min(until, deadline.load(std::memory_order_relaxed))) close_waiting();
    (void)runtime::sleep_for(std::chrono::milliseconds(2));
  }
}

/// Once a second at most, with how many it were: whoever sends headers to the wrong listener sends many.
void ProxyAcceptor::tell(const Proxied& of, const Endpoint& peer, std::string_view why) noexcept {
  const std::optional<std::uint64_t> left_out = log_limit_.pass(monotonic_now());
  if (!left_out) return;
  try {
    log(LogLevel::warning,
        "listener " + std::string(of.name) + ": a connection of " + peer.host() +
            " was closed for its PROXY protocol header: " + std::string(why) +
            (*left_out != 0 ? " (" + std::to_string(*left_out + 1) + " since the last such line)" : ""));
  } catch (const std::bad_alloc&) {  // it is counted
  }
}

}  // namespace fiberd::net

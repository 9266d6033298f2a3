#include "core/tls/acceptor.hpp"

#include <algorithm>
#include <new>
#include <span>
#include <utility>

#include "core/base/clock.hpp"
#include "core/net/replace_snapshot.hpp"
#include "core/net/tls_peer.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::tls {

std::string_view token_of(Unshaken why) noexcept {
  switch (why) {
    case Unshaken::timeout: return "timeout";
    case Unshaken::reset: return "reset";
    case Unshaken::limit: return "limit";
    case Unshaken::reclaimed: return "reclaimed";
    case Unshaken::stopping: return "stopping";
    case Unshaken::resources: return "resources";
    case Unshaken::count_: break;
  }
  return token_of(static_cast<errc>(why));
}

static Unshaken reason_of(const std::error_code& error) noexcept {
  if (error.category() == category()) return static_cast<Unshaken>(error.value());
  if (error == std::errc::timed_out) return Unshaken::timeout;
  if (error == std::errc::not_enough_memory) return Unshaken::resources;
  return Unshaken::reset;
}

/// A connection whose handshake is not over. Silent, it is its socket's owner's: whoever has the poll word. Shaking, it
/// is its fiber's; others may shut its stream down, under the lock, while it is in the list.
struct Acceptor::Shaking : ListHook {
  Shaking(Acceptor& a, net::TcpStream&& s, net::Place&& p, const net::Endpoint& c,
          std::chrono::nanoseconds patience) noexcept
      : acceptor(a),
        place(std::move(p)),
        socket(std::move(s)),
        client(c),
        since(runtime::coarse_now()),
        limit(Deadline::after(since, patience)) {}
  Acceptor& acceptor;
  net::Place place;  // outlives the socket
  net::SocketStream socket;
  std::unique_ptr<Stream> stream;
  const net::Endpoint client;
  const std::int64_t since;
  const Deadline limit;
  bool begun = false;                 // it is in shaking_
  std::atomic<std::uint8_t> told{0};  // an Unshaken: to end
};

void Acceptor::use(Secured next) {
  net::replace_and_wait<Secured>(secured_, std::make_shared<const Secured>(std::move(next)));
}

void Acceptor::count_end(const Secured& by, Unshaken why) noexcept {
  if (by.metrics != nullptr) count(by.metrics->failed[static_cast<std::size_t>(why)]);
}

void Acceptor::accept(net::Admitted&& connection) noexcept {
  const net::Endpoint client = connection.client();
  Result<net::TcpStream> stream = connection.take_stream();
  if (!stream) return count_end(**secured_.read(), Unshaken::resources);
  accept(std::move(*stream), connection.take_place(), client);
}

void Acceptor::accept(net::TcpStream&& stream, net::Place&& place, const net::Endpoint& client) noexcept {
  static constexpr runtime::IdleHandler kHandler{[](void* argument) noexcept {
                                                   auto& s = *static_cast<Shaking*>(argument);
                                                   s.acceptor.begin(s);
                                                 },
                                                 [](void* argument) noexcept {
                                                   auto& s = *static_cast<Shaking*>(argument);
                                                   s.acceptor.end(s, Unshaken::timeout);
                                                 }};
  net::Place ours = std::move(place);
  net::TcpStream socket = std::move(stream);  // closed before the place goes back
  std::chrono::nanoseconds patience{};
  std::size_t most = 0;
  metric::Gauge* gauge = nullptr;
  {
    const auto now = secured_.read();
    patience = (*now)->patience;
    most = (*now)->handshakes;
    if ((*now)->metrics != nullptr) gauge = (*now)->metrics->pending;
  }
  const auto refuse = [&](Unshaken why) {
    count_end(**secured_.read(), why);
    socket.close();
  };
  if (pending_.load(std::memory_order_relaxed) >= most && end_some(1, INT64_MAX, Unshaken::reclaimed) == 0)
    return refuse(Unshaken::limit);
  auto* const s = new (std::nothrow) Shaking(*this, std::move(socket), std::move(ours), client, patience);
  if (s == nullptr) return refuse(Unshaken::resources);
  pending_.fetch_add(1, std::memory_order_relaxed);
  if (gauge != nullptr) gauge->add();
  {
    const LockGuard guard(lock_);
    silent_.push_back(*s);
  }
  // Bytes that are there already are an edge, too, when the socket is put into epoll.
  if (!s->socket.go_idle(kHandler, s, s->limit)) begin(*s);
}

/// Its first bytes have come, or its end.
void Acceptor::begin(Shaking& s) noexcept {
  {
    const LockGuard guard(lock_);
    List<Shaking>::remove(s);
    shaking_.push_back(s);
    s.begun = true;
    begun_.fetch_add(1, std::memory_order_release);
  }
  if (!runtime::spawn("tls handshake", [this, &s] { shake(s); })) end(s, Unshaken::resources);
}

void Acceptor::shake(Shaking& s) noexcept {
  // Nothing of what use() replaces is held while the client is waited for: use() waits for who holds it.
  std::shared_ptr<const ServerContext> context;
  std::string_view plain_answer;
  std::chrono::nanoseconds farewell{};
  {
    const auto now = secured_.read();
    if ((*now)->contexts != nullptr) context = (*now)->contexts->get();
    plain_answer = (*now)->plain_answer;
    farewell = (*now)->farewell;
  }
  Result<std::unique_ptr<Stream>> stream = context != nullptr
                                               ? Stream::make(std::move(s.socket), context->new_session())
                                               : fail(std::errc::not_enough_memory);
  if (!stream) return end(s, Unshaken::resources);
  {
    const LockGuard guard(lock_);
    s.stream = std::move(*stream);
    if (s.told.load(std::memory_order_relaxed) != 0) s.stream->shutdown();
  }
  const std::int64_t began = monotonic_now();
  const Result<void> shaken = s.stream->handshake(s.limit);
  if (shaken && s.stream->application_protocol() == kAcmeProtocol) {
    // An authority has seen the certificate that it wanted to see; nothing is served by such a connection (RFC 8737
    // section 3).
    s.stream->close();
    return gone(s);
  }
  if (shaken) return hand_over(s, began);
  if (const std::uint8_t told = s.told.load(std::memory_order_acquire); told != 0)
    return end(s, static_cast<Unshaken>(told));
  const Unshaken why = reason_of(shaken.error());
  if (shaken.error() == errc::plain_http && !plain_answer.empty()) {
    count_end(**secured_.read(), why);  // first: who is answered finds it counted
    answer_plain(s.stream->socket(), plain_answer, Deadline::in(farewell));
    return gone(s);
  }
  // With TLS 1.3 the handshake is over for a client before its certificate is looked at: its request is on the way.
  if (shaken.error() == errc::no_certificate || shaken.error() == errc::certificate) {
    count_end(**secured_.read(), why);
    see_off(s.stream->socket(), Deadline::in(farewell));
    return gone(s);
  }
  end(s, why);
}

void Acceptor::answer_plain(net::SocketStream& socket, std::string_view answer, const Deadline& limit) noexcept {
  while (!answer.empty()) {
    const Result<std::size_t> n = socket.write_some(std::as_bytes(std::span(answer)), limit);
    if (!n) return;
    answer.remove_prefix(*n);
  }
  see_off(socket, limit);
}

/// Waits a little for the client's end: what it still sends would make the kernel answer by a reset, which may overtake
/// what it was told.
void Acceptor::see_off(net::SocketStream& socket, const Deadline& limit) noexcept {
  static constexpr std::size_t kMost = std::size_t{64} * 1024;
  (void)socket.shutdown_write();
  std::array<std::byte, 1024> bytes;
  for (std::size_t all = 0; all < kMost;) {
    const Result<std::size_t> n = socket.read_some(bytes, limit);
    if (!n || *n == 0) return;
    all += *n;
  }
}

void Acceptor::hand_over(Shaking& s, std::int64_t began) noexcept {
  std::unique_ptr<Stream> stream;
  {
    const LockGuard guard(lock_);
    List<Shaking>::remove(s);
    stream = std::move(s.stream);
  }
  // Who was told to end in the last moment has been shut down, and whoever serves sees it.
  {
    const auto now = secured_.read();
    const Secured& to = **now;
    if (to.metrics != nullptr) {
      const net::TlsPeer& peer = *stream->tls_peer();
      count(to.metrics->completed[peer.version == "TLSv1.3" ? 1 : 0][peer.resumed ? 1 : 0]);
      if (to.metrics->duration != nullptr)
        to.metrics->duration->observe(static_cast<std::uint64_t>(std::max<std::int64_t>(0, monotonic_now() - began)));
      if (to.metrics->pending != nullptr) to.metrics->pending->sub();
    }
    to.on_secured(to.argument, std::move(stream), std::move(s.place), s.client);
  }
  begun_.fetch_sub(1, std::memory_order_release);
  delete &s;
  pending_.fetch_sub(1, std::memory_order_release);
}

void Acceptor::end(Shaking& s, Unshaken why) noexcept {
  count_end(**secured_.read(), why);  // first: who sees the end finds it counted
  gone(s);
}

void Acceptor::gone(Shaking& s) noexcept {
  {
    const LockGuard guard(lock_);
    List<Shaking>::remove(s);
  }
  if (s.stream != nullptr) s.stream->close();
  s.socket.close();
  s.place.give_back();
  if (const auto now = secured_.read(); (*now)->metrics != nullptr && (*now)->metrics->pending != nullptr)
    (*now)->metrics->pending->sub();
  if (s.begun) begun_.fetch_sub(1, std::memory_order_release);
  delete &s;
  pending_.fetch_sub(1, std::memory_order_release);
}

/// Silent ones are closed here; one that shakes is told, and its fiber closes it.
std::size_t Acceptor::end_some(std::size_t most, std::int64_t until, Unshaken why) noexcept {
  List<Shaking> ours;
  std::size_t n = 0;
  {
    const LockGuard guard(lock_);
    for (Shaking* s = silent_.front(); s != nullptr && n < most && s->since <= until;) {
      Shaking* const next = silent_.after(*s);
      if (s->socket.claim_idle()) {
        List<Shaking>::remove(*s);
        ours.push_back(*s);
        ++n;
      }
      s = next;
    }
    for (Shaking* s = shaking_.front(); s != nullptr && n < most && s->since <= until; s = shaking_.after(*s)) {
      std::uint8_t not_yet = 0;
      if (!s->told.compare_exchange_strong(not_yet, static_cast<std::uint8_t>(why), std::memory_order_acq_rel))
        continue;
      if (s->stream != nullptr) s->stream->shutdown();
      ++n;
    }
  }
  while (Shaking* const s = ours.front()) end(*s, why);
  return n;
}

std::size_t Acceptor::reclaim(std::size_t most, std::int64_t until) noexcept {
  return end_some(most, until, Unshaken::reclaimed);
}

void Acceptor::drain(const std::atomic<std::int64_t>& deadline) noexcept {
  if (pending() == 0) return;
  std::chrono::nanoseconds patience{0};
  if (const auto now = secured_.read(); (*now)->contexts != nullptr) patience = (*now)->drain;
  const std::int64_t until = time_after(monotonic_now(), patience);
  while (pending() != 0) {
    if (monotonic_now() >= std::min(until, deadline.load(std::memory_order_relaxed)))
      (void)end_some(SIZE_MAX, INT64_MAX, Unshaken::stopping);
    (void)runtime::sleep_for(std::chrono::milliseconds(2));
  }
}

}  // namespace fiberd::tls

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

/// Let in.
struct Acceptor::Newcomer {
  net::Place place;  // outlives the socket
  net::TcpStream socket;
  net::Endpoint client;
};

/// A connection whose handshake is not over. Silent, it is its socket's owner's: whoever has the poll word. Shaking, it
/// is its fiber's; others may shut its stream down, under the lock, while it is in the list.
struct Acceptor::Shaking : ListHook {
  Shaking(Acceptor& a, Newcomer&& n, std::chrono::nanoseconds patience) noexcept
      : acceptor(a),
        place(std::move(n.place)),
        socket(std::move(n.socket)),
        client(n.client),
        since(runtime::coarse_now()),
        limit(Deadline::after(since, patience)) {}
  Acceptor& acceptor;
  net::Place place;  // outlives the socket
  net::SocketStream socket;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<Newcomer> next;  // who comes in its place; set by whoever has told it to end, under the lock
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
  Newcomer newcomer{std::move(place), std::move(stream), client};
  const std::size_t most = (*secured_.read())->handshakes;
  while (!take_place(most)) {
    if (end_silent(1, INT64_MAX, Unshaken::reclaimed) != 0) continue;
    if (!succeed(newcomer)) refuse(std::move(newcomer), Unshaken::limit);
    return;
  }
  admit(std::move(newcomer));
}

/// Of those that are counted.
bool Acceptor::take_place(std::size_t most) noexcept {
  std::size_t n = pending_.load(std::memory_order_relaxed);
  while (n < most)
    if (pending_.compare_exchange_weak(n, n + 1, std::memory_order_relaxed)) return true;
  return false;
}

/// Of those that shake the one that has waited longest is told to end, and the newcomer comes in its place. False: all
/// have been told, or memory is out.
bool Acceptor::succeed(Newcomer& newcomer) noexcept {
  std::unique_ptr<Newcomer> next(new (std::nothrow) Newcomer(std::move(newcomer)));
  if (next == nullptr) return false;
  {
    const LockGuard guard(lock_);
    for (Shaking* s = shaking_.front(); s != nullptr; s = shaking_.after(*s)) {
      std::uint8_t not_yet = 0;
      if (!s->told.compare_exchange_strong(not_yet, static_cast<std::uint8_t>(Unshaken::reclaimed),
                                           std::memory_order_acq_rel))
        continue;
      s->next = std::move(next);
      if (s->stream != nullptr) s->stream->shutdown();
      return true;
    }
  }
  newcomer = std::move(*next);
  return false;
}

void Acceptor::refuse(Newcomer&& newcomer, Unshaken why) noexcept {
  count_end(**secured_.read(), why);
  Newcomer ours = std::move(newcomer);
  ours.socket.close();
}

/// A place of those that are counted is its own.
void Acceptor::admit(Newcomer&& newcomer) noexcept {
  static constexpr runtime::IdleHandler kHandler{[](void* argument) noexcept {
                                                   auto& s = *static_cast<Shaking*>(argument);
                                                   s.acceptor.begin(s);
                                                 },
                                                 [](void* argument) noexcept {
                                                   auto& s = *static_cast<Shaking*>(argument);
                                                   s.acceptor.end(s, Unshaken::timeout);
                                                 }};
  std::chrono::nanoseconds patience{};
  metric::Gauge* gauge = nullptr;
  {
    const auto now = secured_.read();
    patience = (*now)->patience;
    if ((*now)->metrics != nullptr) gauge = (*now)->metrics->pending;
  }
  auto* const s = new (std::nothrow) Shaking(*this, std::move(newcomer), patience);
  if (s == nullptr) {
    refuse(std::move(newcomer), Unshaken::resources);  // NOLINT(bugprone-use-after-move): nothing was made of it
    pending_.fetch_sub(1, std::memory_order_release);
    return;
  }
  if (gauge != nullptr) gauge->add();
  {
    const LockGuard guard(lock_);
    silent_.push_back(*s);
  }
  // Bytes that are there already are an edge, too, when the socket is put into epoll.
  if (!s->socket.go_idle(kHandler, s, s->limit)) begin(*s);
}

/// Its place is the next one's, or free. It is in no list any more.
void Acceptor::leave(Shaking& s) noexcept {
  const std::unique_ptr<Newcomer> next = std::move(s.next);
  if (s.begun) begun_.fetch_sub(1, std::memory_order_release);
  delete &s;
  if (next != nullptr)
    admit(std::move(*next));
  else
    pending_.fetch_sub(1, std::memory_order_release);
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
  if (const EarlyData early = s.stream->early_data(); early != EarlyData::none)
    if (const auto now = secured_.read(); (*now)->metrics != nullptr)
      count((*now)->metrics->early_data[static_cast<std::size_t>(early)]);
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

/// As OnHandshake.
static void count_handshake(const void* metrics, std::int64_t began, const Stream& stream,
                            const std::error_code& why) noexcept {
  const auto& m = *static_cast<const HandshakeMetrics*>(metrics);
  if (why) return count(m.failed[static_cast<std::size_t>(reason_of(why))]);
  const net::TlsPeer& peer = *stream.tls_peer();
  count(m.completed[peer.version == "TLSv1.3" ? 1 : 0][peer.resumed ? 1 : 0]);
  if (stream.kernel_sends()) count(m.kernel);
  if (m.duration != nullptr)
    m.duration->observe(static_cast<std::uint64_t>(std::max<std::int64_t>(0, monotonic_now() - began)));
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
      (void)stream->tls_peer();
      stream->tell_handshake({&count_handshake, to.metrics, began});
      if (to.metrics->pending != nullptr) to.metrics->pending->sub();
    }
    to.on_secured(to.argument, std::move(stream), std::move(s.place), s.client);
  }
  leave(s);
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
  leave(s);
}

/// They are closed here.
std::size_t Acceptor::end_silent(std::size_t most, std::int64_t until, Unshaken why) noexcept {
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
  }
  while (Shaking* const s = ours.front()) end(*s, why);
  return n;
}

/// One that shakes is told, and its fiber closes it.
std::size_t Acceptor::end_some(std::size_t most, std::int64_t until, Unshaken why) noexcept {
  std::size_t n = end_silent(most, until, why);
  const LockGuard guard(lock_);
  for (Shaking* s = shaking_.front(); s != nullptr && n < most && s->since <= until; s = shaking_.after(*s)) {
    std::uint8_t not_yet = 0;
    if (!s->told.compare_exchange_strong(not_yet, static_cast<std::uint8_t>(why), std::memory_order_acq_rel)) continue;
    if (s->stream != nullptr) s->stream->shutdown();
    ++n;
  }
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

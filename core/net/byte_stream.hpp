#pragma once
// ByteStream: the bytes of one connection in both directions, as a protocol needs them, whatever carries them: TCP and
// Unix sockets (TcpStream), TLS (tls::Stream), memory in tests. Whoever speaks a protocol over it asks for no
// descriptor.
//
// Why virtual calls: a request makes about six of them, some 30 of its 4,200 instructions. Static dispatch would save
// these and build every protocol once for each carrier. What is asked most often (drained) is a plain member.
//
// Idle. A connection that waits for its next bytes needs no fiber: it goes idle, and whoever wins it owns it next: the
// carrier with bytes or an end, the deadline, or claim_idle() (a stop, a reload, somebody who needs the place). There
// is exactly one winner.
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/base/clock.hpp"
#include "core/base/result.hpp"
#include "core/net/endpoint.hpp"
#include "core/runtime/poll_descriptor.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::net {

struct TlsPeer;

/// At most one fiber reads and one writes at a time. shutdown(), queued() and claim_idle() may come from any other
/// while the stream lives; all else from those two. Errors are those of TcpStream.
class ByteStream {
 public:
  virtual ~ByteStream() = default;

  // ---- reading
  /// Up to data.size() bytes; 0 at the end of the stream.
  [[nodiscard]] virtual Result<std::size_t> read_some(std::span<std::byte> data, Deadline deadline = Deadline::never(),
                                                      runtime::Cancellation* cancellation = nullptr) noexcept = 0;
  /// As read_some, but never waits: operation_would_block instead.
  [[nodiscard]] virtual Result<std::size_t> try_read(std::span<std::byte> data) noexcept = 0;
  /// The last read took all that was there at that time, and nothing is buffered in between.
  [[nodiscard]] bool drained() const noexcept { return drained_; }
  /// Something new may be there (the idle handler ran): the next read asks again.
  void note_readable() noexcept { drained_ = false; }
  /// Whether bytes are there that were not read yet. Never parks.
  [[nodiscard]] virtual bool bytes_waiting() const noexcept = 0;
  /// Bytes that the kernel holds for it: not read yet, or not taken by the peer; 0 where nobody knows. Never parks.
  [[nodiscard]] virtual std::size_t queued() noexcept { return 0; }

  // ---- writing
  /// At least one byte of `data`, as many as are taken at once.
  [[nodiscard]] virtual Result<std::size_t> write_some(std::span<const std::byte> data,
                                                       Deadline deadline = Deadline::never(),
                                                       runtime::Cancellation* cancellation = nullptr) noexcept = 0;
  /// As write_some, but never waits: operation_would_block instead.
  [[nodiscard]] virtual Result<std::size_t> try_write(std::span<const std::byte> data) noexcept = 0;
  /// As many bytes of the parts, at most 1,024 of them, as are taken at once; at least one unless all are empty.
  [[nodiscard]] virtual Result<std::size_t> writev_some(std::span<const iovec> parts,
                                                        Deadline deadline = Deadline::never(),
                                                        runtime::Cancellation* cancellation = nullptr) noexcept = 0;
  /// Up to `count` bytes of the file `fd` from `offset`; 0 when the file ends there.
  [[nodiscard]] virtual Result<std::size_t> sendfile_some(int fd, std::uint64_t offset, std::uint64_t count,
                                                          Deadline deadline = Deadline::never(),
                                                          runtime::Cancellation* cancellation = nullptr) noexcept = 0;
  /// Says what has to be said before our side ends, where there is such a thing (TLS: close_notify), and waits until
  /// it has gone. shutdown_write() and close(), which never wait, say it themselves if the carrier takes it at once.
  [[nodiscard]] virtual Result<void> take_leave(Deadline, runtime::Cancellation* = nullptr) noexcept { return {}; }
  /// Ends our side in order (FIN; close_notify before it, where there is one); reading goes on.
  virtual Result<void> shutdown_write() noexcept = 0;

  // ---- idle
  /// As runtime::PollDescriptor::go_idle(): false when bytes are there already; else exactly one of on_ready,
  /// on_timeout and a claim_idle() that succeeds, and until then nothing else of the stream is called.
  [[nodiscard]] virtual bool go_idle(const runtime::IdleHandler& handler, void* argument,
                                     Deadline deadline) noexcept = 0;
  /// From anywhere: true for exactly one caller, who owns the connection then.
  [[nodiscard]] virtual bool claim_idle() noexcept = 0;
  /// A hint.
  [[nodiscard]] virtual bool is_idle() const noexcept = 0;

  // ---- the peer
  /// From now on `watch` is told when the peer goes away, until unwatch_hang_up(), which must come before the stream
  /// goes idle or closes. One at a time.
  [[nodiscard]] virtual Result<void> watch_hang_up(runtime::HangUpWatch& watch) noexcept = 0;
  virtual void unwatch_hang_up(runtime::HangUpWatch& watch) noexcept = 0;
  /// The peer has ended its stream, or worse, as far as is known.
  [[nodiscard]] virtual bool hung_up() const noexcept = 0;
  /// Of those: both directions are gone.
  [[nodiscard]] virtual bool was_reset() const noexcept = 0;
  /// Unspecified when it is not known (any more).
  [[nodiscard]] virtual Endpoint peer() const noexcept = 0;
  /// What both agreed to speak over it (ALPN: "h2", "http/1.1"); empty where nobody asked. As long as the stream lives.
  [[nodiscard]] virtual std::string_view application_protocol() const noexcept { return {}; }
  /// Null where nothing is encrypted. As long as the stream lives; by one fiber at a time.
  [[nodiscard]] virtual const TlsPeer* tls_peer() const noexcept { return nullptr; }

  /// What is read may have been sent before, by another client whom somebody has recorded (TLS's early data, RFC 8446
  /// section 8), for the carrier's handshake is not over. Once false it stays so. From any fiber.
  [[nodiscard]] virtual bool is_early() const noexcept { return false; }
  /// Waits for the handshake's end; what comes meanwhile is kept. By the fiber that reads.
  [[nodiscard]] virtual Result<void> finish_handshake(Deadline, runtime::Cancellation* = nullptr) noexcept {
    return {};
  }

  // ---- the end
  /// From any fiber: waits inside and later ones end with operation_canceled. The stream stays open until close().
  virtual void shutdown() noexcept = 0;
  [[nodiscard]] virtual bool is_shut_down() const noexcept = 0;
  virtual void close() noexcept = 0;

 protected:
  ByteStream() noexcept = default;
  ByteStream(const ByteStream&) = default;
  ByteStream& operator=(const ByteStream&) = default;
  bool drained_ = false;
};

}  // namespace fiberd::net

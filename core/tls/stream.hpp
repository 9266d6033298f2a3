#pragma once
// Stream: a socket's bytes under TLS, as a net::ByteStream; both roles. How it drives OpenSSL: stream.cpp.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "core/base/clock.hpp"
#include "core/base/lock.hpp"
#include "core/base/result.hpp"
#include "core/net/byte_stream.hpp"
#include "core/net/socket_stream.hpp"
#include "core/net/tls_peer.hpp"
#include "core/tls/errc.hpp"
#include "core/tls/hello_watch.hpp"
#include "core/tls/session.hpp"

namespace fiberd::tls {

class Stream;

/// What became of early data (stream_early.cpp).
enum class EarlyData : std::uint8_t {
  none,      ///< the client has sent none
  accepted,  ///< it was read before the handshake's end
  refused,   ///< it was skipped: it is off, the ticket's time is over, or the client is asked for another hello
  replayed   ///< it was skipped: it may have been taken before
};

/// Told of a handshake's end. Does not park, nor call anything of the stream but tls_peer().
struct OnHandshake {
  void (*call)(const void* argument, std::int64_t began, const Stream& stream,
               const std::error_code& why) noexcept = nullptr;
  const void* argument = nullptr;
  std::int64_t began = 0;  ///< passed on
};

/// As net::ByteStream: one fiber reads, another may write. Errors: TcpStream's, and those of errc.hpp.
///
/// A record goes out whole or not at all: when a write failed by would_block, timed_out or operation_canceled, or took
/// less than it was given, part of one may be on its way. The next write begins with the bytes that were not taken, or
/// fails with errc::out_of_step, as do all then.
class Stream final : public net::ByteStream {
 public:
  /// Takes over a connected socket; of a TcpStream what that adds to a SocketStream is left behind. `session` is of a
  /// ServerContext or a ClientContext. Error: not_enough_memory. Never parks.
  [[nodiscard]] static Result<std::unique_ptr<Stream>> make(net::SocketStream&& socket, SslHandle session) noexcept;
  ~Stream() override;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// Before all else. When it fails the peer has been told why (an alert), and the stream is good for close() alone.
  /// Of a server that takes early data it may return with the first of that: is_early(). Then whoever reads goes on
  /// with the handshake, up to `deadline` at most.
  [[nodiscard]] Result<void> handshake(Deadline deadline = Deadline::never(),
                                       runtime::Cancellation* cancellation = nullptr) noexcept;
  /// Once handshake() has succeeded: `told` is called when it is over or has failed, from within, or at once. Behind
  /// the first call of tls_peer().
  void tell_handshake(OnHandshake told) noexcept;
  [[nodiscard]] EarlyData early_data() const noexcept;
  /// What is written is encrypted by the kernel (kernel_tls.hpp), files too.
  [[nodiscard]] bool kernel_sends() const noexcept { return kernel_sends_; }
  [[nodiscard]] bool is_early() const noexcept override { return unproved_.load(std::memory_order_acquire); }
  /// By the fiber that reads.
  [[nodiscard]] Result<void> finish_handshake(Deadline deadline,
                                              runtime::Cancellation* cancellation = nullptr) noexcept override;
  /// In words, and in more of them than the error's, what OpenSSL found wrong ("certificate has expired"); empty if
  /// nothing. Nothing in it is secret. Throws std::bad_alloc.
  [[nodiscard]] std::string failure() const;

  [[nodiscard]] Result<std::size_t> read_some(std::span<std::byte> data, Deadline deadline = Deadline::never(),
                                              runtime::Cancellation* cancellation = nullptr) noexcept override;
  [[nodiscard]] Result<std::size_t> try_read(std::span<std::byte> data) noexcept override;
  /// Bytes for the reader; what TLS says to itself (close_notify, tickets, new keys) is none.
  [[nodiscard]] bool bytes_waiting() const noexcept override;
  [[nodiscard]] std::size_t queued() noexcept override { return socket_.queued(); }

  // Four records a call at most: 64 KiB. Fewer than were given: what comes next begins with the rest.
  [[nodiscard]] Result<std::size_t> write_some(std::span<const std::byte> data, Deadline deadline = Deadline::never(),
                                               runtime::Cancellation* cancellation = nullptr) noexcept override;
  [[nodiscard]] Result<std::size_t> try_write(std::span<const std::byte> data) noexcept override;
  [[nodiscard]] Result<std::size_t> writev_some(std::span<const iovec> parts, Deadline deadline = Deadline::never(),
                                                runtime::Cancellation* cancellation = nullptr) noexcept override;
  [[nodiscard]] Result<std::size_t> sendfile_some(int fd, std::uint64_t offset, std::uint64_t count,
                                                  Deadline deadline = Deadline::never(),
                                                  runtime::Cancellation* cancellation = nullptr) noexcept override;
  [[nodiscard]] Result<void> take_leave(Deadline deadline,
                                        runtime::Cancellation* cancellation = nullptr) noexcept override;
  /// close_notify as far as that needs no waiting, then FIN. Of a record whose rest waits nothing more is sent, nor
  /// close_notify then: the peer sees that something is missing.
  Result<void> shutdown_write() noexcept override;

  [[nodiscard]] bool go_idle(const runtime::IdleHandler& handler, void* argument, Deadline deadline) noexcept override;
  [[nodiscard]] bool claim_idle() noexcept override { return socket_.claim_idle(); }
  [[nodiscard]] bool is_idle() const noexcept override { return socket_.is_idle(); }

  [[nodiscard]] Result<void> watch_hang_up(runtime::HangUpWatch& watch) noexcept override {
    return socket_.watch_hang_up(watch);
  }
  void unwatch_hang_up(runtime::HangUpWatch& watch) noexcept override { socket_.unwatch_hang_up(watch); }
  [[nodiscard]] bool hung_up() const noexcept override { return socket_.hung_up(); }
  [[nodiscard]] bool was_reset() const noexcept override { return socket_.was_reset(); }
  [[nodiscard]] net::Endpoint peer() const noexcept override { return socket_.peer(); }
  [[nodiscard]] std::string_view application_protocol() const noexcept override;
  [[nodiscard]] const net::TlsPeer* tls_peer() const noexcept override;

  void shutdown() noexcept override { socket_.shutdown(); }
  [[nodiscard]] bool is_shut_down() const noexcept override { return socket_.is_shut_down(); }
  /// Tells the peer (close_notify) as far as that needs no waiting.
  void close() noexcept override;

  /// For the bytes below, once a handshake has failed: to tell a peer that speaks no TLS.
  [[nodiscard]] net::SocketStream& socket() noexcept { return socket_; }
  /// OpenSSL's, while nobody else is inside.
  [[nodiscard]] ssl_st* session() noexcept { return session_.get(); }

 private:
  enum class Want : std::uint8_t { nothing, read, write, aside };
  /// Who waits for the socket in one direction.
  struct Turn {
    bool taken = false;
    runtime::Ticket second{};  // waits for that one
  };
  struct Early;
  friend struct SocketBio;

  Stream(net::SocketStream&& socket, SslHandle session) noexcept;
  [[nodiscard]] Result<std::size_t> read_now(std::span<std::byte> data, Want& want) noexcept;
  [[nodiscard]] Result<std::size_t> write_now(std::span<const std::byte> data, Want& want, bool more = false) noexcept;
  [[nodiscard]] std::error_code handshake_now(Want& want) noexcept;
  [[nodiscard]] std::error_code classify(int result, Want& want) noexcept;
  [[nodiscard]] std::error_code reason_of(unsigned long error) const noexcept;
  [[nodiscard]] Result<std::size_t> take_plaintext(std::span<std::byte> data, Want& want) noexcept;
  [[nodiscard]] Result<void> wait(Want want, Deadline deadline, runtime::Cancellation* cancellation) noexcept;
  [[nodiscard]] std::error_code unwritable() const noexcept;
  [[nodiscard]] std::error_code why_not_by_kernel() noexcept;
  [[nodiscard]] bool say_goodbye() noexcept;
  // stream_early.cpp
  void expect_early(Deadline limit) noexcept;
  [[nodiscard]] std::error_code shake_early(Want& want) noexcept;
  std::error_code advance_early(Want& want) noexcept;
  void end_early(std::error_code why) noexcept;
  bool forget_early() noexcept;
  void leave_early() noexcept;
  [[nodiscard]] std::optional<Result<std::size_t>> take_early(std::span<std::byte> data, Want& want) noexcept;
  [[nodiscard]] Result<std::size_t> write_early(std::span<const std::byte> data, Want& want) noexcept;
  [[nodiscard]] bool send_unsent() noexcept;
  [[nodiscard]] bool send_or_keep(std::string_view bytes) noexcept;
  [[nodiscard]] bool peek() noexcept;

  net::SocketStream socket_;
  SslHandle session_;
  // Around each use of session_, and of socket_'s word about what was read. Never across a wait.
  mutable Lock lock_;
  bool established_ = false;
  bool ended_ = false;             // by close_notify
  bool at_fin_ = false;            // the socket's end has been read
  bool kernel_sends_ = false;      // since the handshake
  unsigned char record_type_ = 0;  // of what OpenSSL sends next, then; 0: data
  enum class Bye : std::uint8_t { unsaid, waits, sent };
  Bye bye_ = Bye::unsaid;                     // close_notify
  errc refused_{};                            // what the BIO has read and does not pass on
  HelloWatch hello_;                          // until the handshake is over
  int socket_error_ = 0;                      // -errno, of the last call
  std::uint16_t owed_ = 0;                    // bytes of a write that has begun
  bool more_ = false;                         // follows what is being sent
  bool slow_ = false;                         // the client, when the last piece of a file was sent
  std::size_t talk_ = 0;                      // bytes read since the last one for the reader
  std::atomic<bool> plaintext_waits_{false};  // or bytes of which nobody knows what they are
  Turn to_read_;
  Turn to_write_;
  std::uint64_t owed_hash_ = 0;
  unsigned long openssl_error_ = 0;  // the one that ended it
  std::error_code broken_;           // for good, in both directions
  std::unique_ptr<Early> early_;     // while the handshake of a server that takes early data is not over
  std::atomic<bool> unproved_{false};
  mutable std::unique_ptr<net::TlsPeer> peer_;
};

}  // namespace fiberd::tls

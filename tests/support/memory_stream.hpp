#pragma once
// MemoryStream: a net::ByteStream that is memory, for simulations: one end is a server's, the other a client's on a
// fiber of the same simulation. All that a network may do to bytes it does by a seed: it delivers them in pieces of any
// size, takes short writes, says "would block" with room left, and breaks off behind any byte. What has come is told
// once, as by edge-triggered epoll: whoever has seen the edge and does not read waits for the next one.
//
// One thread, no locks: simulations have one Processor.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/random.hpp"
#include "core/net/byte_stream.hpp"
#include "core/runtime/timer.hpp"
#include "tests/support/answer_reader.hpp"

namespace fiberd::test {

struct MemoryFaults {
  std::uint32_t most_read = 1U << 20U;     ///< a read takes 1 … so many bytes
  std::uint32_t most_write = 1U << 20U;    ///< a write takes 1 … so many bytes
  std::size_t room = 64 * 1024;            ///< of each direction
  std::uint32_t would_block = 0;           ///< of 100 tries that need not wait: so many say they would
  std::uint64_t reset_after = UINT64_MAX;  ///< bytes in both directions together
  bool never_idle = false;                 ///< epoll takes nobody more
};

/// One direction, and who waits at its ends.
struct MemoryPipe {
  std::string bytes;
  bool ended = false;
  runtime::Ticket reader{};
  runtime::Ticket writer{};
};

class MemoryStream final : public net::ByteStream {
 public:
  /// What both ends see.
  struct Link {
    Link(const MemoryFaults& f, std::uint64_t seed) : faults(f), random(seed) {}
    const MemoryFaults faults;
    Random random;
    std::uint64_t moved = 0;
    bool reset = false;
    bool server_gone = false;
    MemoryPipe to_server;
    MemoryPipe to_client;
    MemoryStream* server = nullptr;  // while it lives
    // Called once, when a read of the server's has timed out, before the server knows.
    std::function<void()> when_read_timed_out;
    /// By the client, where it is no fiber: bytes come.
    void deliver(std::string_view data);
    void count(std::size_t n);
    void break_off();
  };

  explicit MemoryStream(std::shared_ptr<Link> link);
  ~MemoryStream() override { close(); }

  [[nodiscard]] Result<std::size_t> read_some(std::span<std::byte> data, Deadline deadline,
                                              runtime::Cancellation* cancellation) noexcept override;
  [[nodiscard]] Result<std::size_t> try_read(std::span<std::byte> data) noexcept override;
  [[nodiscard]] bool bytes_waiting() const noexcept override { return !link_->to_server.bytes.empty(); }
  [[nodiscard]] Result<std::size_t> write_some(std::span<const std::byte> data, Deadline deadline,
                                               runtime::Cancellation* cancellation) noexcept override;
  [[nodiscard]] Result<std::size_t> try_write(std::span<const std::byte> data) noexcept override;
  [[nodiscard]] Result<std::size_t> writev_some(std::span<const iovec> parts, Deadline deadline,
                                                runtime::Cancellation* cancellation) noexcept override;
  [[nodiscard]] Result<std::size_t> sendfile_some(int fd, std::uint64_t offset, std::uint64_t count, Deadline deadline,
                                                  runtime::Cancellation* cancellation) noexcept override;
  Result<void> shutdown_write() noexcept override;
  [[nodiscard]] bool go_idle(const runtime::IdleHandler& handler, void* argument, Deadline deadline) noexcept override;
  [[nodiscard]] bool claim_idle() noexcept override;
  [[nodiscard]] bool is_idle() const noexcept override { return idle_; }
  [[nodiscard]] Result<void> watch_hang_up(runtime::HangUpWatch& watch) noexcept override;
  void unwatch_hang_up(runtime::HangUpWatch& watch) noexcept override;
  [[nodiscard]] bool hung_up() const noexcept override { return link_->reset || link_->to_server.ended; }
  [[nodiscard]] bool was_reset() const noexcept override { return link_->reset; }
  [[nodiscard]] net::Endpoint peer() const noexcept override { return net::Endpoint::v4(0x7f000001, 1); }
  void shutdown() noexcept override;
  [[nodiscard]] bool is_shut_down() const noexcept override { return shut_down_; }
  void close() noexcept override;

  /// By the client: bytes have come, or an end.
  void arrived() noexcept;

 private:
  class IdleTimer : public runtime::Timer {
   public:
    explicit IdleTimer(MemoryStream& stream) noexcept;
    MemoryStream& owner;
  };
  [[nodiscard]] bool readable() const noexcept;
  [[nodiscard]] std::size_t take(std::span<std::byte> data) noexcept;
  [[nodiscard]] bool says_would_block() noexcept;

  std::shared_ptr<Link> link_;
  IdleTimer timer_;
  const runtime::IdleHandler* handler_ = nullptr;
  void* argument_ = nullptr;
  runtime::HangUpWatch* watch_ = nullptr;
  bool edge_ = false;  // came, and was not waited for yet
  bool idle_ = false;
  bool shut_down_ = false;
  bool closed_ = false;
};

/// The other end, on a fiber.
class MemoryClient final : public AnswerReader {
 public:
  explicit MemoryClient(std::shared_ptr<MemoryStream::Link> link) : link_(std::move(link)) {}
  ~MemoryClient() override { finish_sending(); }
  bool send(std::string_view bytes) override;
  void finish_sending() override;
  bool more() override;
  void reset() { link_->break_off(); }

 private:
  std::shared_ptr<MemoryStream::Link> link_;
};

}  // namespace fiberd::test

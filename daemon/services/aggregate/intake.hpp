#pragma once
// Intake: from sockets to batches, and from batches into the aggregator.
//
//   a fiber per TCP connection ─┐
//                               ├→ Channel<Batch> → a dispatcher's fiber → Aggregator        (one such pair a
//                               Processor)
//   a fiber for the UDP socket ─┘
//
// A connection stays with one dispatcher, so its lines are taken in their order. When a channel is full, a connection's
// fiber waits and stops reading, so that TCP makes the client wait: nothing is lost. Datagrams cannot wait: they are
// dropped and counted.
//
// An idle connection holds its fiber's stack and the beginning of an unfinished line, no buffer.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/context/context.hpp"
#include "core/metric/metrics.hpp"
#include "core/net/tcp_stream.hpp"
#include "core/net/udp_socket.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/wait_group.hpp"
#include "daemon/services/aggregate/aggregator.hpp"
#include "daemon/services/aggregate/batches.hpp"

namespace fiberd::daemon::aggregate {

/// Each may be null.
struct IntakeMetrics {
  metric::Counter* datagrams = nullptr;
  metric::Counter* dropped_queue = nullptr;   ///< datagrams: the channel was full
  metric::Counter* dropped_kernel = nullptr;  ///< datagrams: the socket's buffer was full
  metric::Counter* receive_errors = nullptr;  ///< of the UDP socket
  metric::Counter* unfinished = nullptr;      ///< lines in whose middle their connection broke or was ended by us
  metric::Counter* cut = nullptr;             ///< lines that were not taken before shutdown.timeout
};

class Intake {
 public:
  /// `dispatchers` ≥ 1. `hard` ends the datagrams' wait for room in a channel: what is not in it then is lost and
  /// counted, as it is when a connection's context is done.
  Intake(Aggregator& aggregator, const IntakeMetrics& metrics, unsigned dispatchers, std::size_t line_size,
         context::Context hard);

  /// Starts the dispatchers. On a fiber, or with a runtime's spawn. Error: spawn's.
  [[nodiscard]] Result<void> start();
  /// Lines of `stream` until it ends, breaks, or is silent for `idle` (0: no limit). On the connection's fiber; `ctx`
  /// is the connection's.
  void read_stream(const context::Context& ctx, net::TcpStream& stream, std::chrono::nanoseconds idle) noexcept;
  /// Datagrams of `socket` until it is shut down; then takes what had arrived. Or until `held` is done; then leaves it.
  /// On a fiber.
  void read_datagrams(const context::Context& held, net::UdpSocket& socket) noexcept;
  /// From now on a stream's end is ours, not its client's: the beginning of a line before it is not taken for a line.
  void stopping() noexcept { stopping_.store(true, std::memory_order_release); }
  /// When nobody reads any more: lets the dispatchers finish what is in the channels. Parks until they have.
  void finish() noexcept;
  /// Lines that a hard stop kept out of the channels.
  [[nodiscard]] std::uint64_t lines_cut() const noexcept { return metrics_.cut != nullptr ? metrics_.cut->value() : 0; }

 private:
  using Queue = sync::Channel<Batch>;
  [[nodiscard]] bool send(const context::Context& ctx, Queue& queue, Batch batch) noexcept;
  void read_lines(const context::Context& ctx, net::TcpStream& stream, std::chrono::nanoseconds idle, Queue& queue);
  void take_datagrams(const net::DatagramBatch& datagrams, Queue& queue, bool may_wait);
  void send_datagrams(Queue& queue, Batch& batch, std::uint64_t count, bool may_wait);

  Aggregator& aggregator_;
  const IntakeMetrics metrics_;
  const std::size_t line_size_;
  const context::Context hard_;
  BufferPool pool_;
  std::vector<std::unique_ptr<Queue>> queues_;
  std::atomic<std::uint32_t> next_queue_{0};
  std::atomic<bool> stopping_{false};
  sync::WaitGroup dispatchers_;
};

}  // namespace fiberd::daemon::aggregate

#include "daemon/services/aggregate/intake.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <span>

#include "core/base/log.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::daemon::aggregate {

// Room beside a line's beginning: what one read takes, and the largest datagram with its line end.
static constexpr std::size_t kRoom = 64 * 1024;
// On the stack, so that a connection that waits holds no more: read first, then into a buffer if it was filled.
static constexpr std::size_t kSmall = 1024;
static constexpr std::size_t kQueued = 16;  // batches in a channel
static constexpr std::size_t kDatagrams = 32;
static constexpr std::size_t kMaxDatagram = 64 * 1024;

static void add(metric::Counter* counter, std::uint64_t n) noexcept {
  if (counter != nullptr && n != 0) counter->add(n);
}

static std::uint64_t count_lines(std::string_view lines) noexcept {
  return static_cast<std::uint64_t>(std::count(lines.begin(), lines.end(), '\n')) +
         (!lines.empty() && lines.back() != '\n' ? 1U : 0U);
}

Intake::Intake(Aggregator& aggregator, const IntakeMetrics& metrics, unsigned dispatchers, std::size_t line_size,
               context::Context hard)
    : aggregator_(aggregator),
      metrics_(metrics),
      line_size_(line_size),
      hard_(std::move(hard)),
      pool_(line_size + 1 + kRoom, dispatchers * (kQueued + 4)) {
  for (unsigned i = 0; i < dispatchers; ++i) queues_.push_back(std::make_unique<Queue>(kQueued));
}

Result<void> Intake::start() {
  for (const auto& queue : queues_) {
    const Result<void> spawned = dispatchers_.go("aggregate", [this, &queue = *queue] {
      for (const Batch& batch : queue) aggregator_.add(batch.lines());
    });
    if (!spawned) return spawned;
  }
  return {};
}

void Intake::finish() noexcept {
  for (const auto& queue : queues_) (void)queue->close();
  dispatchers_.wait();
}

bool Intake::send(const context::Context& ctx, Queue& queue, Batch batch) noexcept {
  const std::error_code error = error_of(queue.send_from(ctx, batch));
  if (error) add(metrics_.cut, count_lines(batch.lines()));
  return !error;
}

void Intake::read_stream(const context::Context& ctx, net::TcpStream& stream, std::chrono::nanoseconds idle) noexcept {
  Queue& queue = *queues_[next_queue_.fetch_add(1, std::memory_order_relaxed) % queues_.size()];
  try {
    read_lines(ctx, stream, idle, queue);
  } catch (const std::bad_alloc&) {
    aggregator_.refuse(Refusal::memory);
    log(LogLevel::error, "aggregate: a connection is closed: no memory");
  }
}

void Intake::read_lines(const context::Context& ctx, net::TcpStream& stream, std::chrono::nanoseconds idle,
                        Queue& queue) {
  LineCutter cutter(line_size_);
  char small[kSmall];
  bool more = false;   // the last read filled its room: the kernel may hold more
  bool ended = false;  // in order
  bool broken = false;
  while (!ended && !broken) {
    std::size_t have = 0;
    if (!more) {
      const Deadline deadline = idle.count() == 0 ? Deadline::never() : Deadline::after(runtime::coarse_now(), idle);
      const Result<std::size_t> n =
          stream.read_some(std::as_writable_bytes(std::span(small)), deadline, ctx.cancellation());
      if (!n || *n == 0) {
        (n ? ended : broken) = true;
        break;
      }
      have = *n;
      more = have == kSmall;
    }
    BufferPool::Buffer buffer = pool_.take();
    std::size_t filled = cutter.begin(buffer.get());
    std::memcpy(buffer.get() + filled, small, have);
    filled += have;
    if (more) {
      const std::span<char> room(buffer.get() + filled, pool_.size() - filled);
      const Result<std::size_t> n = stream.try_read(std::as_writable_bytes(room));
      if (n) {
        filled += *n;
        ended = *n == 0;
        more = *n == room.size();
      } else {
        more = false;
        broken = n.error() != std::errc::operation_would_block;
      }
    }
    const auto [offset, size] = cutter.cut(buffer.get(), filled);
    if (const std::uint64_t skipped = cutter.take_skipped(); skipped != 0) aggregator_.refuse(Refusal::length, skipped);
    if (size != 0 && !send(ctx, queue, {std::move(buffer), offset, size})) return;
    runtime::spend_budget();
  }
  if (cutter.rest().empty()) return;
  if (broken || stopping_.load(std::memory_order_acquire)) {
    // What there is of it might be a line, but another one than was meant.
    add(metrics_.unfinished, 1);
    return;
  }
  BufferPool::Buffer buffer = pool_.take();
  const std::size_t size = cutter.begin(buffer.get());
  (void)send(ctx, queue, {std::move(buffer), 0, size});
}

void Intake::read_datagrams(const context::Context& held, net::UdpSocket& socket) noexcept {
  Queue& queue = *queues_[next_queue_.fetch_add(1, std::memory_order_relaxed) % queues_.size()];
  std::uint64_t told = socket.kernel_drops();
  const auto tell_drops = [&] {
    const std::uint64_t drops = socket.kernel_drops();
    add(metrics_.dropped_kernel, drops - std::exchange(told, drops));
  };
  try {
    net::DatagramBatch datagrams(kDatagrams, kMaxDatagram);
    for (;;) {
      const Result<std::size_t> n = socket.receive_batch(held, datagrams);
      if (!n) {
        if (held.done()) return;
        if (n.error() == std::errc::operation_canceled) break;
        add(metrics_.receive_errors, 1);
        (void)runtime::sleep_for(std::chrono::milliseconds(10));
        continue;
      }
      tell_drops();
      take_datagrams(datagrams, queue, false);
    }
    // It is stopped: nobody is kept waiting by taking the rest without dropping any.
    while (socket.try_receive_batch(datagrams)) {
      tell_drops();
      take_datagrams(datagrams, queue, true);
    }
  } catch (const std::bad_alloc&) {
    aggregator_.refuse(Refusal::memory);
    log(LogLevel::error, "aggregate: no memory: datagrams are not read any more");
  }
}

void Intake::take_datagrams(const net::DatagramBatch& datagrams, Queue& queue, bool may_wait) {
  add(metrics_.datagrams, datagrams.size());
  Batch batch{pool_.take(), 0, 0};
  std::uint64_t in_batch = 0;
  for (std::size_t i = 0; i < datagrams.size(); ++i) {
    const std::span<const std::byte> data = datagrams[i];
    if (batch.size + data.size() + 1 > pool_.size()) {
      send_datagrams(queue, batch, std::exchange(in_batch, 0), may_wait);
      batch = {pool_.take(), 0, 0};
    }
    std::memcpy(batch.buffer.get() + batch.size, data.data(), data.size());
    batch.size += data.size();
    batch.buffer[batch.size++] = '\n';
    ++in_batch;
  }
  if (in_batch != 0) send_datagrams(queue, batch, in_batch, may_wait);
}

void Intake::send_datagrams(Queue& queue, Batch& batch, std::uint64_t count, bool may_wait) {
  if (may_wait) {
    (void)send(hard_, queue, std::move(batch));
    return;
  }
  if (queue.try_send(batch)) return;
  // With one Processor the dispatcher can run only when we let it.
  runtime::yield();
  if (!queue.try_send(batch)) add(metrics_.dropped_queue, count);
}

}  // namespace fiberd::daemon::aggregate

#include "tests/support/memory_stream.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "core/runtime/runtime.hpp"

namespace fiberd::test {

using runtime::Wake;

static void rouse(runtime::Ticket& waiter) noexcept {
  if (const runtime::Ticket w = std::exchange(waiter, {}); w.value != 0) (void)runtime::wake(w);
}

/// Waits at one end of a pipe.
static std::error_code wait_at(runtime::Ticket& place, runtime::WaitReason reason, Deadline deadline,
                               runtime::Cancellation* cancellation) noexcept {
  const runtime::Ticket ticket = runtime::prepare_park(reason);
  place = ticket;
  const Wake wake = runtime::park_until(ticket, deadline, cancellation);
  if (place.value == ticket.value) place = {};
  if (wake == Wake::timeout) return std::make_error_code(std::errc::timed_out);
  return wake == Wake::canceled ? std::make_error_code(std::errc::operation_canceled) : std::error_code();
}

void MemoryStream::Link::count(std::size_t n) {
  moved += n;
  if (moved >= faults.reset_after) break_off();
}

void MemoryStream::Link::break_off() {
  if (std::exchange(reset, true)) return;
  to_server.bytes.clear();
  for (MemoryPipe* pipe : {&to_server, &to_client}) {
    rouse(pipe->reader);
    rouse(pipe->writer);
  }
  if (server != nullptr) server->arrived();
}

void MemoryStream::Link::deliver(std::string_view data) {
  to_server.bytes += data;
  if (server != nullptr) server->arrived();
}

MemoryStream::IdleTimer::IdleTimer(MemoryStream& stream) noexcept
    : Timer([](Timer& timer) noexcept {
        MemoryStream& s = static_cast<IdleTimer&>(timer).owner;
        if (std::exchange(s.idle_, false)) s.handler_->on_timeout(s.argument_);
      }),
      owner(stream) {}

MemoryStream::MemoryStream(std::shared_ptr<Link> link) : link_(std::move(link)), timer_(*this), edge_(readable()) {
  link_->server = this;
}

bool MemoryStream::readable() const noexcept {
  return link_->reset || link_->to_server.ended || !link_->to_server.bytes.empty();
}

bool MemoryStream::says_would_block() noexcept { return link_->random.below(100) < link_->faults.would_block; }

std::size_t MemoryStream::take(std::span<std::byte> data) noexcept {
  std::string& bytes = link_->to_server.bytes;
  const std::size_t most =
      std::min({data.size(), bytes.size(), std::size_t{1} + link_->random.below(link_->faults.most_read)});
  if (most != 0) std::memcpy(data.data(), bytes.data(), most);
  bytes.erase(0, most);
  drained_ = most != 0 && most < data.size() && bytes.empty() && !hung_up();
  rouse(link_->to_server.writer);
  return most;
}

Result<std::size_t> MemoryStream::try_read(std::span<std::byte> data) noexcept {
  if (closed_) return fail(std::errc::bad_file_descriptor);
  if (link_->reset) return fail(std::errc::connection_reset);
  if (!readable() || (!link_->to_server.bytes.empty() && says_would_block())) {
    drained_ = !readable();
    edge_ = edge_ || readable();  // as if they came behind this
    return fail(std::errc::operation_would_block);
  }
  const std::size_t n = take(data);
  link_->count(n);
  return n;
}

Result<std::size_t> MemoryStream::read_some(std::span<std::byte> data, Deadline deadline,
                                            runtime::Cancellation* cancellation) noexcept {
  if (runtime::past(deadline)) return fail(std::errc::timed_out);
  for (;;) {
    if (closed_) return fail(std::errc::bad_file_descriptor);
    if (shut_down_) return fail(std::errc::operation_canceled);
    if (link_->reset) return fail(std::errc::connection_reset);
    if (readable() && !drained_) {
      const std::size_t n = take(data);
      link_->count(n);
      runtime::spend_budget();
      return n;
    }
    if (!std::exchange(edge_, false)) {
      if (const std::error_code error =
              wait_at(link_->to_server.reader, runtime::WaitReason::io_read, deadline, cancellation)) {
        if (auto call = std::exchange(link_->when_read_timed_out, nullptr)) call();
        return fail(error);
      }
      edge_ = false;
    }
    drained_ = false;
  }
}

Result<std::size_t> MemoryStream::try_write(std::span<const std::byte> data) noexcept {
  MemoryPipe& out = link_->to_client;
  if (closed_) return fail(std::errc::bad_file_descriptor);
  if (link_->reset) return fail(std::errc::connection_reset);
  if (out.bytes.size() >= link_->faults.room || says_would_block()) return fail(std::errc::operation_would_block);
  const std::size_t n = std::min({data.size(), link_->faults.room - out.bytes.size(),
                                  std::size_t{1} + link_->random.below(link_->faults.most_write)});
  out.bytes.append(reinterpret_cast<const char*>(data.data()), n);
  rouse(out.reader);
  link_->count(n);
  return n;
}

Result<std::size_t> MemoryStream::write_some(std::span<const std::byte> data, Deadline deadline,
                                             runtime::Cancellation* cancellation) noexcept {
  for (;;) {
    if (shut_down_) return fail(std::errc::operation_canceled);
    Result<std::size_t> n = try_write(data);
    if (n || n.error() != std::errc::operation_would_block) return n;
    if (link_->to_client.bytes.size() < link_->faults.room) continue;  // it only said so
    if (const std::error_code error =
            wait_at(link_->to_client.writer, runtime::WaitReason::io_write, deadline, cancellation))
      return fail(error);
  }
}

Result<std::size_t> MemoryStream::writev_some(std::span<const iovec> parts, Deadline deadline,
                                              runtime::Cancellation* cancellation) noexcept {
  std::string all;
  for (const iovec& part : parts) all.append(static_cast<const char*>(part.iov_base), part.iov_len);
  return write_some(std::as_bytes(std::span(all)), deadline, cancellation);
}

Result<std::size_t> MemoryStream::sendfile_some(int fd, std::uint64_t offset, std::uint64_t count, Deadline deadline,
                                                runtime::Cancellation* cancellation) noexcept {
  std::vector<std::byte> piece(std::min<std::uint64_t>(count, 16 * 1024));
  const ssize_t n = ::pread(fd, piece.data(), piece.size(), static_cast<off_t>(offset));
  if (n <= 0) return n == 0 ? Result<std::size_t>(0) : fail(std::errc::io_error);
  return write_some(std::span(piece).first(static_cast<std::size_t>(n)), deadline, cancellation);
}

Result<void> MemoryStream::shutdown_write() noexcept {
  link_->to_client.ended = true;
  rouse(link_->to_client.reader);
  return {};
}

bool MemoryStream::go_idle(const runtime::IdleHandler& handler, void* argument, Deadline deadline) noexcept {
  if (shut_down_ || link_->faults.never_idle) return false;
  if (std::exchange(edge_, false)) return false;
  handler_ = &handler;
  argument_ = argument;
  idle_ = true;
  timer_.arm(deadline);
  return true;
}

bool MemoryStream::claim_idle() noexcept {
  if (!std::exchange(idle_, false)) return false;
  timer_.disarm();
  return true;
}

void MemoryStream::arrived() noexcept {
  rouse(link_->to_server.reader);
  if (hung_up() && watch_ != nullptr) watch_->on_hang_up(*watch_, link_->reset);
  if (!claim_idle()) {
    edge_ = true;
    return;
  }
  handler_->on_ready(argument_);
}

Result<void> MemoryStream::watch_hang_up(runtime::HangUpWatch& watch) noexcept {
  watch_ = &watch;
  if (hung_up()) watch.on_hang_up(watch, link_->reset);
  return {};
}

void MemoryStream::unwatch_hang_up(runtime::HangUpWatch& /*watch*/) noexcept { watch_ = nullptr; }

void MemoryStream::shutdown() noexcept {
  shut_down_ = true;
  rouse(link_->to_server.reader);
  rouse(link_->to_client.writer);
}

void MemoryStream::close() noexcept {
  if (std::exchange(closed_, true)) return;
  timer_.cancel();
  link_->server = nullptr;
  // What was not read makes the kernel answer with a reset, which takes with it what the client has not read yet.
  if (!link_->to_server.bytes.empty()) link_->break_off();
  link_->server_gone = true;
  (void)shutdown_write();
  rouse(link_->to_server.writer);
}

bool MemoryClient::send(std::string_view bytes) {
  MemoryPipe& out = link_->to_server;
  while (!bytes.empty()) {
    if (link_->reset || link_->server_gone || out.ended) return false;
    if (out.bytes.size() >= link_->faults.room) {
      // Whoever only sends while the other only sends waits for ever: what comes meanwhile is taken.
      MemoryPipe& in = link_->to_client;
      if (!in.bytes.empty()) {
        buffer_ += std::exchange(in.bytes, {});
        rouse(in.writer);
        continue;
      }
      in.reader = out.writer = runtime::prepare_park(runtime::WaitReason::io_write);
      runtime::park(out.writer);
      in.reader = out.writer = {};
      continue;
    }
    const std::size_t n = std::min(bytes.size(), link_->faults.room - out.bytes.size());
    out.bytes.append(bytes.substr(0, n));
    bytes.remove_prefix(n);
    if (link_->server != nullptr) link_->server->arrived();
    runtime::yield();  // the seed says who goes on
  }
  return true;
}

void MemoryClient::finish_sending() {
  if (std::exchange(link_->to_server.ended, true) || link_->server == nullptr) return;
  link_->server->arrived();
}

bool MemoryClient::more() {
  MemoryPipe& in = link_->to_client;
  for (;;) {
    if (!in.bytes.empty()) {
      buffer_ += std::exchange(in.bytes, {});
      rouse(in.writer);
      return true;
    }
    if (link_->reset) {
      error_ = ECONNRESET;
      return false;
    }
    if (in.ended) {
      ended_ = true;
      return false;
    }
    if (wait_at(in.reader, runtime::WaitReason::io_read, Deadline::never(), nullptr)) return false;
  }
}

}  // namespace fiberd::test

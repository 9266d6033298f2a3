// What an HTTP/2 connection sends: nghttp2 lays out frames one behind the other in one buffer, as many as are ready,
// and they leave in one send. What of a body goes there was bounded by the client's windows.
#include <algorithm>
#include <cstring>
#include <new>

#include "core/http/h1/connection.hpp"
#include "core/http/h2/session.hpp"
#include "core/http/h2/stream.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http::h2 {

bool Session::append(const std::uint8_t* data, std::size_t size) noexcept {
  if (out_capacity_ - out_size_ < size) {
    const std::size_t wanted = std::max(kOut, out_size_ + size);
    std::unique_ptr<std::uint8_t[]> larger(new (std::nothrow) std::uint8_t[wanted]);
    if (larger == nullptr) return false;
    if (out_size_ != 0) std::memcpy(larger.get(), out_.get(), out_size_);
    out_ = std::move(larger);
    out_capacity_ = wanted;
  }
  if (size != 0) std::memcpy(out_.get() + out_size_, data, size);
  out_size_ += size;
  appended_ += size;
  return true;
}

/// As much as is ready, and there is room for.
void Session::fill() noexcept {
  while (out_size_ < kOutFull) {
    const std::uint8_t* data = nullptr;
    const ssize_t n = nghttp2_session_mem_send(ng_, &data);
    if (n == 0) return;
    if (n < 0 || !append(data, static_cast<std::size_t>(n))) {
      lose(std::make_error_code(std::errc::not_enough_memory));
      return;
    }
    // Of a head in several frames nghttp2 does not tell how long it is together.
    if (!unsent_.empty() && unsent_.back()->end_at_ > appended_) unsent_.back()->end_at_ = appended_;
  }
}

/// Ends of answers that have left.
void Session::note_written(std::uint64_t bytes) noexcept {
  written_ += bytes;
  const auto left =
      std::stable_partition(unsent_.begin(), unsent_.end(), [this](const Stream* s) { return s->end_at_ > written_; });
  for (auto kept = static_cast<std::size_t>(left - unsent_.begin()); unsent_.size() > kept;) {
    Stream& s = *unsent_.back();
    unsent_.pop_back();
    s.sent_ = true;
    if (s.detached_)
      s.finish();
    else
      s.wake_writer();
  }
}

void Session::lose(std::error_code /*error*/) noexcept {
  if (lost_) return;
  lost_ = true;
  out_size_ = 0;
  wire_.shutdown();
  close_streams();
  wake_main();
}

Deadline Session::write_limit() const noexcept {
  const SiteOptions& o = site_->options();
  const std::int64_t now = runtime::coarse_now();
  return Deadline::after(now, o.timeouts.write).earlier(writes_.limit(now, o.write_rate, o.timeouts.grace.count()));
}

/// On the connection's fiber, behind a round: what fits into the socket; a writer has the rest.
void Session::send_round(Held& held) noexcept {
  while (!writing_ && !lost_) {
    fill();
    if (lost_ || out_size_ == 0) return;
    writing_ = true;
    const std::span<const std::byte> bytes{reinterpret_cast<const std::byte*>(out_.get()), out_size_};
    held.unlock();
    const Result<std::size_t> n = wire_.try_write(bytes);
    held.lock();
    writing_ = false;
    if (lost_) return;
    if (!n && n.error() != std::errc::operation_would_block) return lose(n.error());
    const std::size_t sent = n ? *n : 0;
    writes_.note(sent, 0);
    note_written(sent);
    if (sent == out_size_) {
      out_size_ = 0;
      continue;
    }
    std::memmove(out_.get(), out_.get() + sent, out_size_ - sent);
    out_size_ -= sent;
    busy_ = false;
    schedule_write();
    busy_ = true;
    return;
  }
}

void Session::schedule_write() noexcept {
  if (busy_ || writing_ || lost_) return;
  if (out_size_ == 0 && nghttp2_session_want_write(ng_) == 0) return;
  writing_ = true;
  join();
  const Result<void> spawned = runtime::spawn_reserved(fiber::StackClaim::finish, "http2 writer", [this] {
    run_writer();
    leave();
  });
  if (spawned) return;
  writing_ = false;
  references_.fetch_sub(1, std::memory_order_relaxed);
  metric::count(server_.metrics_.spawn_refused);
  lose(spawned.error());
}

void Session::run_writer() noexcept {
  Held held(mutex_);
  write_all(held);
  writing_ = false;
  if (rest_ != nullptr && out_size_ == 0) {
    out_.reset();
    out_capacity_ = 0;
  }
  wake_main();
}

void Session::write_all(Held& held) noexcept {
  while (!lost_) {
    fill();
    if (lost_ || out_size_ == 0) return;
    std::size_t done = 0;
    while (done < out_size_ && !lost_) {
      const std::span<const std::byte> bytes{reinterpret_cast<const std::byte*>(out_.get()) + done, out_size_ - done};
      const std::int64_t begin = runtime::coarse_now();
      const Deadline limit = write_limit();
      held.unlock();
      const Result<std::size_t> n = wire_.write_some(bytes, limit);
      held.lock();
      writes_.note(n ? *n : 0, runtime::coarse_now() - begin);
      if (!n) {
        const SiteOptions& o = site_->options();
        if (n.error() == std::errc::timed_out)
          metric::count(writes_.spent(o.write_rate, o.timeouts.grace.count()) ? server_.metrics_.write_rate
                                                                              : server_.metrics_.write_timeouts);
        return lose(n.error());
      }
      if (lost_) return;
      done += *n;
      note_written(*n);
    }
    out_size_ = 0;
    if (nghttp2_session_get_outbound_queue_size(ng_) < 64) wake_main();
  }
}

}  // namespace fiberd::http::h2

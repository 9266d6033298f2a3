// What a connection sends. Answers gather in the output buffer and leave together; each send that may wait is bounded
// by progress and by a least rate.
//
// After a send that failed nothing more is sent (output_lost_): half of an answer may be with the client, and whatever
// came next, an error's answer for one, would be taken for its rest.
#include <algorithm>
#include <array>
#include <string_view>

#include "core/http/h1/connection.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http {

static std::span<const std::byte> bytes(std::string_view data) noexcept {
  return {reinterpret_cast<const std::byte*>(data.data()), data.size()};
}

Deadline Connection::write_limit() const noexcept {
  const SiteOptions& o = options();
  const std::int64_t now = runtime::coarse_now();
  return Deadline::after(now, o.timeouts.write).earlier(ws_->writes.limit(now, o.write_rate, o.timeouts.grace.count()));
}

std::error_code Connection::wrote(const Result<std::size_t>& outcome, std::int64_t begin) noexcept {
  ws_->writes.note(outcome ? *outcome : 0, runtime::coarse_now() - begin);
  if (outcome) {
    sent_ += *outcome;
    return {};
  }
  output_lost_ = true;
  const SiteOptions& o = options();
  if (outcome.error() == std::errc::timed_out)
    count(ws_->writes.spent(o.write_rate, o.timeouts.grace.count()) ? metrics().write_rate : metrics().write_timeouts);
  return outcome.error();
}

std::error_code Connection::send(std::string_view data) noexcept {
  if (data.empty()) return {};
  if (output_lost_) return std::make_error_code(std::errc::connection_reset);
  // Most answers fit into the socket: nothing is waited for, so no bound is asked for and no clock read.
  if (const Result<std::size_t> n = stream_->try_write(bytes(data))) {
    data.remove_prefix(*n);
    sent_ += *n;
    ws_->writes.note(*n, 0);
  } else if (n.error() != std::errc::operation_would_block) {
    output_lost_ = true;
    return n.error();
  }
  while (!data.empty()) {
    const std::int64_t begin = runtime::coarse_now();
    const Result<std::size_t> n = stream_->write_some(bytes(data), write_limit());
    if (const std::error_code error = wrote(n, begin)) return error;
    data.remove_prefix(*n);
  }
  return {};
}

std::error_code Connection::flush() noexcept {
  const std::string_view data(ws_->out, out_size_);
  out_size_ = 0;
  const std::error_code error = send(data);
  if (ws_->unsent_count != 0) [[unlikely]]
    tell_unsent();
  return error;
}

/// What waits and `data` behind it, in as few calls as the kernel takes.
std::error_code Connection::flush_with(std::string_view data) noexcept {
  if (out_size_ == 0 || output_lost_) return send(data);
  const std::string_view waits(ws_->out, out_size_);
  out_size_ = 0;
  std::array<iovec, 2> parts{{{ws_->out, waits.size()}, {const_cast<char*>(data.data()), data.size()}}};
  const std::int64_t begin = runtime::coarse_now();
  const Result<std::size_t> n = stream_->writev_some(parts, write_limit());
  std::error_code error = wrote(n, begin);
  if (!error && *n < waits.size()) error = send(waits.substr(*n));
  if (!error) error = send(data.substr(std::max(*n, waits.size()) - waits.size()));
  if (ws_->unsent_count != 0) [[unlikely]]
    tell_unsent();
  return error;
}

/// Room for `size` bytes behind what waits; nullptr when even the empty buffer is too small or the send failed.
char* Connection::reserve_out(std::size_t size) noexcept {
  if (output_lost_) return nullptr;
  if (ws_->out_capacity - out_size_ < size) {
    if (size > ws_->out_capacity || flush()) return nullptr;
  }
  return ws_->out + out_size_;
}

}  // namespace fiberd::http

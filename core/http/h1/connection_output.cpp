// What a connection sends. Answers gather in the output buffer and leave together; each send that may wait is bounded
// by progress and by a least rate.
//
// After a send that failed nothing more is sent (output_lost): half of an answer may be with the client, and whatever
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
  Workspace& ws = *ws_;
  ws.writes.note(outcome ? *outcome : 0, runtime::coarse_now() - begin);
  if (outcome) {
    ws.sent += *outcome;
    return {};
  }
  ws.output_lost = true;
  const SiteOptions& o = options();
  if (outcome.error() == std::errc::timed_out)
    count(ws.writes.spent(o.write_rate, o.timeouts.grace.count()) ? metrics().write_rate : metrics().write_timeouts);
  return outcome.error();
}

std::error_code Connection::send(std::string_view data) noexcept {
  if (data.empty()) return {};
  Workspace& ws = *ws_;
  if (ws.output_lost) return std::make_error_code(std::errc::connection_reset);
  // Most answers fit into the socket: nothing is waited for, so no bound is asked for and no clock read.
  if (const Result<std::size_t> n = stream_->try_write(bytes(data))) {
    data.remove_prefix(*n);
    ws.sent += *n;
    ws.writes.note(*n, 0);
  } else if (n.error() != std::errc::operation_would_block) {
    ws.output_lost = true;
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
  Workspace& ws = *ws_;
  const std::string_view data(ws.out, ws.out_size);
  ws.out_size = 0;
  return ws.unsent_count == 0 ? send(data) : send_and_tell(data);
}

std::error_code Connection::send_and_tell(std::string_view data) noexcept {
  const std::error_code error = send(data);
  tell_unsent();
  return error;
}

/// What waits and `data` behind it, in as few calls as the kernel takes.
std::error_code Connection::flush_with(std::string_view data) noexcept {
  Workspace& ws = *ws_;
  if (ws.out_size == 0 || ws.output_lost) return send(data);
  const std::string_view waits(ws.out, ws.out_size);
  ws.out_size = 0;
  std::array<iovec, 2> parts{{{ws.out, waits.size()}, {const_cast<char*>(data.data()), data.size()}}};
  const std::int64_t begin = runtime::coarse_now();
  const Result<std::size_t> n = stream_->writev_some(parts, write_limit());
  std::error_code error = wrote(n, begin);
  if (!error && *n < waits.size()) error = send(waits.substr(*n));
  if (!error) error = send(data.substr(std::max(*n, waits.size()) - waits.size()));
  if (ws.unsent_count != 0) [[unlikely]]
    tell_unsent();
  return error;
}

char* Connection::make_room(std::size_t size) noexcept {
  if (ws_->output_lost || size > ws_->out_capacity || flush()) return nullptr;
  return ws_->out;
}

}  // namespace fiberd::http

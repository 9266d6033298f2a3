// TcpStream's calls under a Context: apart, so that the calls without one stay what they are.
#include "core/context/waits.hpp"
#include "core/net/parts.hpp"
#include "core/net/tcp_stream.hpp"

namespace fiberd::net {

using context::Context;

/// `call(until, cancellation)` under `ctx` and a deadline of its own.
template <class Call>
static auto under(const Context& ctx, Deadline own, Call call) noexcept -> decltype(call(own, nullptr)) {
  if (const std::error_code error = error_of(context::check(ctx))) return fail(error);
  auto outcome = call(own.earlier(ctx.deadline()), ctx.wait_point());
  if (!outcome) return fail(context::to_error(outcome.error(), ctx, own));
  return outcome;
}

Result<std::size_t> TcpStream::read_some(const Context& ctx, std::span<std::byte> data, Deadline own) noexcept {
  return under(ctx, own.earlier(read_deadline_),
               [&](Deadline until, runtime::Cancellation* c) { return read_some(data, until, c); });
}

Result<void> TcpStream::read_full(const Context& ctx, std::span<std::byte> data, Deadline own) noexcept {
  while (!data.empty()) {
    const Result<std::size_t> n = read_some(ctx, data, own);
    if (!n) return fail(n.error());
    if (*n == 0) return fail(std::errc::connection_aborted);
    data = data.subspan(*n);
  }
  return {};
}

Result<std::size_t> TcpStream::write_some(const Context& ctx, std::span<const std::byte> data, Deadline own) noexcept {
  return under(ctx, own.earlier(write_deadline_),
               [&](Deadline until, runtime::Cancellation* c) { return write_some(data, until, c); });
}

Result<void> TcpStream::write_all(const Context& ctx, std::span<const std::byte> data, Deadline own) noexcept {
  while (!data.empty()) {
    const Result<std::size_t> n = write_some(ctx, data, own);
    if (!n) return fail(n.error());
    data = data.subspan(*n);
  }
  return {};
}

Result<std::size_t> TcpStream::writev_some(const Context& ctx, std::span<const iovec> parts, Deadline own) noexcept {
  return under(ctx, own.earlier(write_deadline_),
               [&](Deadline until, runtime::Cancellation* c) { return writev_some(parts, until, c); });
}

Result<void> TcpStream::writev_all(const Context& ctx, std::span<iovec> parts, Deadline own) noexcept {
  for (parts = behind(parts, 0); !parts.empty();) {
    const Result<std::size_t> n = writev_some(ctx, parts, own);
    if (!n) return fail(n.error());
    parts = behind(parts, *n);
  }
  return {};
}

Result<std::size_t> TcpStream::sendfile_some(const Context& ctx, int file, std::uint64_t offset, std::uint64_t count,
                                             Deadline own) noexcept {
  return under(ctx, own.earlier(write_deadline_),
               [&](Deadline until, runtime::Cancellation* c) { return sendfile_some(file, offset, count, until, c); });
}

Result<void> TcpStream::sendfile_all(const Context& ctx, int file, std::uint64_t offset, std::uint64_t count,
                                     Deadline own) noexcept {
  while (count != 0) {
    const Result<std::size_t> n = sendfile_some(ctx, file, offset, count, own);
    if (!n) return fail(n.error());
    if (*n == 0) return fail(std::errc::io_error);
    offset += *n;
    count -= *n;
  }
  return {};
}

Result<TcpStream> TcpStream::connect(const Context& ctx, const Endpoint& endpoint, Deadline own) {
  if (const std::error_code error = error_of(context::check(ctx))) return fail(error);
  Result<TcpStream> stream = connect(endpoint, own.earlier(ctx.deadline()), ctx.wait_point());
  if (!stream) return fail(context::to_error(stream.error(), ctx, own));
  return stream;
}

}  // namespace fiberd::net

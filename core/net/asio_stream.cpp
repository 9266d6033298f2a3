#include "core/net/asio_stream.hpp"

#include "core/net/system_calls.hpp"

namespace fiberd::net {

/// Nobody runs it: it is there because Asio's objects want one. Never destroyed, so that streams of any lifetime may
/// use it.
static boost::asio::io_context& idle_context() {
  static auto* const context = new boost::asio::io_context(BOOST_ASIO_CONCURRENCY_HINT_SAFE);
  return *context;
}

boost::system::error_code to_boost(std::error_code error) noexcept {
  if (!error) return {};
  if (error.category() == std::generic_category() || error.category() == std::system_category())
    return {error.value(), boost::system::system_category()};
  return error;
}

AsioStream::executor_type AsioStream::get_executor() const noexcept { return idle_context().get_executor(); }

std::size_t AsioStream::read_one(boost::asio::mutable_buffer buffer, boost::system::error_code& ec) noexcept {
  const std::span<std::byte> data(static_cast<std::byte*>(buffer.data()), buffer.size());
  const Result<std::size_t> n = cancellation_ != nullptr ? stream_.read_some(data, Deadline::never(), cancellation_)
                                                         : stream_.read_some(context_, data);
  if (!n) {
    ec = to_boost(n.error());
    return 0;
  }
  if (*n == 0) ec = boost::asio::error::eof;
  return *n;
}

std::size_t AsioStream::write_parts(std::span<iovec> parts, boost::system::error_code& ec) noexcept {
  ec = {};
  if (parts.empty()) return 0;
  const Result<std::size_t> n = cancellation_ != nullptr ? stream_.writev_some(parts, Deadline::never(), cancellation_)
                                                         : stream_.writev_some(context_, parts);
  if (n) return *n;
  ec = to_boost(n.error());
  return 0;
}

boost::asio::ip::tcp::socket& AsioStream::asio_socket() {
  if (socket_) return *socket_;
  // Counted as a call inside: the descriptor's number stays ours while the Asio socket knows it.
  if (!stream_.enter()) throw boost::system::system_error(boost::asio::error::bad_descriptor, "asio_socket");
  try {
    const int family = stream_.local().family();
    if (family != AF_INET && family != AF_INET6)
      throw boost::system::system_error(boost::asio::error::address_family_not_supported, "asio_socket");
    socket_.emplace(idle_context(), family == AF_INET ? boost::asio::ip::tcp::v4() : boost::asio::ip::tcp::v6(),
                    stream_.fd_);
  } catch (...) {
    socket_.reset();
    stream_.exit();
    throw;
  }
  return *socket_;
}

void AsioStream::release_socket() noexcept {
  if (!socket_) return;
  boost::system::error_code ignored;  // it has no operations that could fail to end
  (void)socket_->release(ignored);
  socket_.reset();
  stream_.exit();
}

}  // namespace fiberd::net

#pragma once
// AsioStream: a TcpStream as Asio's SyncReadStream and SyncWriteStream, so that asio::read and asio::write, Beast's
// http::read and http::write and websocket::stream work on it as they are. Each call waits as a fiber does.
//
// Apart from TcpStream so that code which needs none of it does not pay for Asio: neither its compile time nor, on each
// connection, its socket object and registration (docs/adr/0003-asio-socket-on-demand.md).
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>
#include <optional>
#include <span>
#include <utility>

#include "core/net/tcp_stream.hpp"

namespace boost::beast {
enum class role_type;  // as in boost/beast/core/role.hpp: who does not use Beast need not have it
}

namespace fiberd::net {

/// std::errc and errno values become Boost's system category, so that they compare equal to boost::asio::error's:
/// operation_canceled to operation_aborted, for example.
[[nodiscard]] boost::system::error_code to_boost(std::error_code error) noexcept;

class AsioStream {
 public:
  using executor_type = boost::asio::io_context::executor_type;  // NOLINT: Asio's names
  using lowest_layer_type = AsioStream;                          // NOLINT

  /// `stream` must outlive this. `cancellation`, which may be nullptr, is obeyed by every wait beside the stream's
  /// deadlines; it must outlive the calls.
  explicit AsioStream(TcpStream& stream, runtime::Cancellation* cancellation = nullptr) noexcept
      : stream_(stream), cancellation_(cancellation) {}
  /// The same under a context: its errors arrive as they are, of their own category (tcp_stream.hpp tells which).
  AsioStream(context::Context context, TcpStream& stream) noexcept
      : stream_(stream), cancellation_(nullptr), context_(std::move(context)) {}
  ~AsioStream() { release_socket(); }
  AsioStream(const AsioStream&) = delete;
  AsioStream& operator=(const AsioStream&) = delete;

  /// Of an io_context that nobody runs: what is posted to it never happens.
  [[nodiscard]] executor_type get_executor() const noexcept;
  [[nodiscard]] lowest_layer_type& lowest_layer() noexcept { return *this; }
  [[nodiscard]] TcpStream& stream() const noexcept { return stream_; }

  /// At least one byte, unless the buffers are empty. Errors: asio::error::eof at the end; else as
  /// TcpStream::read_some.
  template <class MutableBufferSequence>
  std::size_t read_some(const MutableBufferSequence& buffers, boost::system::error_code& ec) {
    ec = {};
    for (auto it = boost::asio::buffer_sequence_begin(buffers); it != boost::asio::buffer_sequence_end(buffers); ++it) {
      const boost::asio::mutable_buffer buffer(*it);
      if (buffer.size() != 0) return read_one(buffer, ec);
    }
    return 0;
  }
  template <class MutableBufferSequence>
  std::size_t read_some(const MutableBufferSequence& buffers) {
    boost::system::error_code ec;
    const std::size_t n = read_some(buffers, ec);
    if (ec) throw boost::system::system_error(ec, "read_some");
    return n;
  }
  /// All buffers, up to 16 of them, in one send: Beast hands over a head and its body so.
  template <class ConstBufferSequence>
  std::size_t write_some(const ConstBufferSequence& buffers, boost::system::error_code& ec) {
    iovec parts[kMaxParts];
    std::size_t count = 0;
    for (auto it = boost::asio::buffer_sequence_begin(buffers);
         it != boost::asio::buffer_sequence_end(buffers) && count < kMaxParts; ++it) {
      const boost::asio::const_buffer buffer(*it);
      if (buffer.size() != 0) parts[count++] = {const_cast<void*>(buffer.data()), buffer.size()};
    }
    return write_parts({parts, count}, ec);
  }
  template <class ConstBufferSequence>
  std::size_t write_some(const ConstBufferSequence& buffers) {
    boost::system::error_code ec;
    const std::size_t n = write_some(buffers, ec);
    if (ec) throw boost::system::system_error(ec, "write_some");
    return n;
  }

  /// The Asio socket on this stream's descriptor, made at the first call: for options, endpoints and Asio interfaces
  /// that want one. While it exists a close() of the stream from another fiber wakes its waits, but the descriptor
  /// stays open until this object's end. Do not close or move it. Throws boost::system::system_error:
  /// address_family_not_supported on a Unix socket, bad_descriptor on a closed stream.
  [[nodiscard]] boost::asio::ip::tcp::socket& asio_socket();

 private:
  static constexpr std::size_t kMaxParts = 16;
  std::size_t read_one(boost::asio::mutable_buffer buffer, boost::system::error_code& ec) noexcept;
  std::size_t write_parts(std::span<iovec> parts, boost::system::error_code& ec) noexcept;
  void release_socket() noexcept;

  TcpStream& stream_;
  runtime::Cancellation* cancellation_;
  const context::Context context_;
  std::optional<boost::asio::ip::tcp::socket> socket_;
};

/// Beast's websocket::stream calls this, found by its argument, when a session ends: half-closes, then reads to the end
/// of the stream under its read deadline.
inline void teardown(boost::beast::role_type, AsioStream& stream, boost::system::error_code& ec) {
  ec = to_boost(error_of(stream.stream().shutdown_write()));
  std::byte rest[512];
  while (!ec) (void)stream.read_some(boost::asio::buffer(rest, sizeof rest), ec);
  if (ec == boost::asio::error::eof) ec = {};
}

}  // namespace fiberd::net

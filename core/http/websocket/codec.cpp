#include "core/http/websocket/codec.hpp"

#include <algorithm>
#include <array>
#include <boost/beast/websocket.hpp>
#include <utility>
#include <vector>

#include "core/http/websocket/message_ends.hpp"

namespace fiberd::http {

namespace beast = boost::beast;
namespace websocket = boost::beast::websocket;
namespace asio = boost::asio;

// How much a compressed WebSocket holds in each direction is 2^bits; Chrome, Python's and npm's clients let us say it
// for theirs. With those that do not (Firefox) nothing is compressed.
static constexpr int kWindowBits = 12;
static constexpr int kMemoryLevel = 4;
static constexpr int kLevel = 3;
// Below a message only grows, or hardly shrinks.
static constexpr std::size_t kLeastCompressed = 64;
static constexpr std::size_t kCompressed = 2048;  // a frame of what is compressed

/// Nobody runs it: it is there because Beast's objects want one. Never destroyed, so that streams of any lifetime may
/// use it.
static asio::io_context& codec_context() {
  static auto* const context = new asio::io_context(BOOST_ASIO_CONCURRENCY_HINT_SAFE);
  return *context;
}

/// Beast takes codes that nobody has (RFC 6455 section 7.4.2), and would answer them in kind.
static constexpr unsigned kLastCode = 4999;
static constexpr std::array<std::byte, 4> kProtocolError{std::byte{0x88}, std::byte{2}, std::byte{0x03},
                                                         std::byte{0xea}};

/// Whether the Close answers one with such a code.
static bool is_beyond_codes(std::span<const std::byte> frame) noexcept {
  return frame.size() == 4 &&
         (std::to_integer<unsigned>(frame[2]) << 8U | std::to_integer<unsigned>(frame[3])) > kLastCode;
}

/// Beast's "next layer".
class CodecLayer {
 public:
  using executor_type = asio::io_context::executor_type;  // NOLINT: Asio's name
  explicit CodecLayer(CodecPeer& peer) noexcept : peer_(peer) {}

  [[nodiscard]] executor_type get_executor() const noexcept { return codec_context().get_executor(); }

  template <class Buffers>
  std::size_t read_some(const Buffers& buffers, boost::system::error_code& ec) {
    ec = {};
    for (auto it = asio::buffer_sequence_begin(buffers); it != asio::buffer_sequence_end(buffers); ++it) {
      const asio::mutable_buffer buffer(*it);
      if (buffer.size() == 0) continue;
      const Result<std::size_t> n = next({static_cast<std::byte*>(buffer.data()), buffer.size()});
      if (n && *n != 0) return *n;
      error = error_of(n);
      ec = asio::error::eof;
      return 0;
    }
    return 0;
  }
  template <class Buffers>
  std::size_t read_some(const Buffers& buffers) {
    boost::system::error_code ec;
    const std::size_t n = read_some(buffers, ec);
    if (ec) throw boost::system::system_error(ec, "read_some");
    return n;
  }
  /// Beast writes a frame of control from one buffer, and of a message's the head first: where each frame begins.
  template <class Buffers>
  std::size_t write_some(const Buffers& buffers, boost::system::error_code& ec) {
    ec = {};
    std::size_t n = 0;
    bool head = true;
    for (auto it = asio::buffer_sequence_begin(buffers); it != asio::buffer_sequence_end(buffers); ++it) {
      const asio::const_buffer buffer(*it);
      n += buffer.size();
      const std::span<const std::byte> data(static_cast<const std::byte*>(buffer.data()), buffer.size());
      if (data.empty()) continue;
      if (opening)
        answer.append(reinterpret_cast<const char*>(data.data()), data.size());
      else if (head && data[0] == kProtocolError[0])
        peer_.put_close(is_beyond_codes(data) ? std::span<const std::byte>(kProtocolError) : data);
      else
        peer_.put(data);
      head = false;
    }
    return n;
  }
  template <class Buffers>
  std::size_t write_some(const Buffers& buffers) {
    boost::system::error_code ec;
    return write_some(buffers, ec);
  }

  bool opening = true;
  bool compressing = false;
  std::string answer;     // to the handshake
  std::error_code error;  // of the take() that failed

 private:
  /// What goes to Beast: what comes, and of compressed messages the ends.
  Result<std::size_t> next(std::span<std::byte> room) {
    if (!compressing) return peer_.take(room);
    if (ends_.owed()) return put_end(room);
    if (behind_.empty()) {
      const Result<std::size_t> n = peer_.take(room);
      if (!n || *n == 0) return n;
      const std::size_t passed = ends_.pass(room.first(*n));
      behind_.assign(room.begin() + static_cast<std::ptrdiff_t>(passed),
                     room.begin() + static_cast<std::ptrdiff_t>(*n));
      behind_at_ = 0;
      return passed;
    }
    const auto rest = std::span(behind_).subspan(behind_at_);
    const std::size_t n = std::min(room.size(), rest.size());
    std::copy_n(rest.begin(), n, room.begin());
    const std::size_t passed = ends_.pass(room.first(n));
    behind_at_ += passed;
    if (behind_at_ == behind_.size()) std::vector<std::byte>().swap(behind_);
    return passed;
  }
  std::size_t put_end(std::span<std::byte> room) noexcept {
    const auto rest = std::span(MessageEnds::kEnd).subspan(end_at_);
    const std::size_t n = std::min(room.size(), rest.size());
    std::copy_n(rest.begin(), n, room.begin());
    end_at_ += n;
    if (end_at_ == MessageEnds::kEnd.size()) {
      end_at_ = 0;
      ends_.put_in();
    }
    return n;
  }

  MessageEnds ends_;
  std::size_t end_at_ = 0;         // of MessageEnds::kEnd, what was given
  std::vector<std::byte> behind_;  // what has come already and goes behind it
  std::size_t behind_at_ = 0;
  CodecPeer& peer_;
};

/// Beast calls it, found by its argument, when a session ends: what becomes of the connection is WebSocket's.
static void teardown(beast::role_type /*role*/, CodecLayer& /*layer*/, boost::system::error_code& ec) { ec = {}; }

struct Codec::Stream {
  explicit Stream(CodecPeer& peer) : socket(peer) {}
  websocket::stream<CodecLayer, true> socket;
  bool in_message = false;  // pieces of it were written, and its last is to come
};

Codec::Codec(CodecPeer& peer, const CodecOptions& options) : stream_(std::make_unique<Stream>(peer)) {
  auto& socket = stream_->socket;
  socket.read_message_max(options.message_size);
  socket.auto_fragment(false);
  socket.write_buffer_bytes(kCompressed);
  websocket::permessage_deflate deflate;
  deflate.server_enable = options.compression;
  deflate.server_max_window_bits = kWindowBits;
  deflate.client_max_window_bits = kWindowBits;
  deflate.memLevel = kMemoryLevel;
  deflate.compLevel = kLevel;
  deflate.msg_size_threshold = 0;  // write_some() says it
  socket.set_option(deflate);
}

Codec::~Codec() = default;

Result<CodecAgreement> Codec::accept(const CodecOffer& offer) {
  static constexpr std::string_view kAnyKey = "AAAAAAAAAAAAAAAAAAAAAA==";
  const auto view = [](std::string_view text) { return beast::string_view(text.data(), text.size()); };
  beast::http::request<beast::http::empty_body> request{beast::http::verb::get, "/", 11};
  using beast::http::field;
  request.set(field::host, "a");
  request.set(field::upgrade, "websocket");
  request.set(field::connection, "upgrade");
  request.set(field::sec_websocket_version, "13");
  request.set(field::sec_websocket_key, view(offer.key.empty() ? kAnyKey : offer.key));
  if (!offer.extensions.empty()) request.set(field::sec_websocket_extensions, view(offer.extensions));
  auto& socket = stream_->socket;
  CodecLayer& layer = socket.next_layer();
  boost::system::error_code ec;
  socket.accept(request, ec);
  layer.opening = false;
  if (ec) return fail(std::errc::protocol_error);
  beast::http::response_parser<beast::http::empty_body> parser;
  parser.eager(true);
  (void)parser.put(asio::buffer(layer.answer), ec);
  std::string().swap(layer.answer);
  if (ec) return fail(std::errc::protocol_error);
  const auto& fields = parser.get();
  const auto text = [&](field name) {
    const auto value = fields[name];
    return std::string(value.data(), value.size());
  };
  CodecAgreement agreed{text(field::sec_websocket_accept), text(field::sec_websocket_extensions)};
  layer.compressing = !agreed.extensions.empty();
  return agreed;
}

/// What Beast calls an end, for us.
static Codec::End end_of(const boost::system::error_code& ec) noexcept {
  using enum Codec::End;
  if (ec == websocket::error::closed) return closed;
  if (ec == asio::error::eof || ec == asio::error::operation_aborted) return connection;
  if (ec == websocket::error::message_too_big || ec == websocket::error::buffer_overflow) return too_big;
  if (ec == websocket::error::bad_frame_payload) return text;
  if (ec == websocket::condition::protocol_violation) return protocol;
  return packed;
}

Codec::Read Codec::read_some(std::span<char> data) {
  boost::system::error_code ec;
  Read read;
  read.size = stream_->socket.read_some(asio::buffer(data.data(), data.size()), ec);
  if (!ec) return read;
  read.end = end_of(ec);
  if (read.end == End::closed && stream_->socket.reason().code > kLastCode) read.end = End::protocol;
  if (read.end == End::connection) read.error = stream_->socket.next_layer().error;
  return read;
}

bool Codec::message_done() const noexcept { return stream_->socket.is_message_done(); }
bool Codec::message_is_text() const noexcept { return stream_->socket.got_text(); }

std::uint16_t Codec::close_code() const noexcept {
  static constexpr std::uint16_t kNone = 1005;
  const std::uint16_t code = stream_->socket.reason().code;
  return code != 0 ? code : kNone;
}

std::string_view Codec::close_reason() const noexcept {
  const auto& reason = stream_->socket.reason().reason;
  return {reason.data(), reason.size()};
}

/// Whether a message is compressed is said once, at its first piece. Beast would ask again at each piece until
/// something has come out of the compressor, and by that piece's size alone: of 16 KiB that hardly take room nothing
/// has, and a last piece of a few bytes would leave uncompressed, as a message of its own, without all that came
/// before.
bool Codec::write_some(bool text, bool fin, std::string_view data) {
  auto& socket = stream_->socket;
  socket.text(text);
  if (!stream_->in_message) socket.compress(!fin || data.size() >= kLeastCompressed);
  stream_->in_message = !fin;
  boost::system::error_code ec;
  (void)socket.write_some(fin, asio::buffer(data.data(), data.size()), ec);
  return !ec;
}

}  // namespace fiberd::http

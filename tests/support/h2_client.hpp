#pragma once
// A client of HTTP/2 that sends what it is given, and takes apart what comes. It blocks its thread, as HttpClient does;
// every wait is bounded. It acknowledges SETTINGS and opens no window by itself.
#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/h2_frames.hpp"
#include "tests/support/http_fixture.hpp"

namespace fiberd::test::http2 {

struct Frame {
  unsigned type = 0;
  unsigned flags = 0;
  std::uint32_t stream = 0;
  std::string payload;
};

/// What has come of a stream.
struct Reply {
  unsigned status = 0;  // of the final head
  std::vector<unsigned> interim;
  Fields fields;
  Fields trailers;
  std::string body;
  unsigned data_frames = 0;
  bool ended = false;
  std::optional<std::uint32_t> reset;
  [[nodiscard]] std::string field(std::string_view name) const {
    for (const auto& [n, v] : fields)
      if (n == name) return v;
    return {};
  }
  [[nodiscard]] bool over() const { return ended || reset.has_value(); }
};

class Client {
 public:
  /// Sends the preface and `settings`, but for an empty one: then nothing.
  explicit Client(std::uint16_t port, std::string_view with_settings = settings(), int receive_buffer = 0)
      : Client(std::make_unique<HttpClient>(port, receive_buffer, std::chrono::seconds(20)), with_settings) {}
  explicit Client(std::unique_ptr<AnswerReader> connection, std::string_view with_settings = settings())
      : connection_(std::move(connection)), socket_(*connection_) {
    if (nghttp2_hd_inflate_new(&inflater_) != 0) throw std::runtime_error("no memory for HPACK");
    if (!with_settings.empty()) (void)socket_.send(std::string(kPreface) + std::string(with_settings));
  }
  ~Client() { nghttp2_hd_inflate_del(inflater_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool send(std::string_view bytes) { return socket_.send(bytes); }
  /// Takes in frames until `done()`, or the connection ends; false in the latter case, and when nothing came in time.
  template <class Done>
  bool until(Done&& done) {
    while (!done()) {
      std::optional<Frame> frame = next();
      if (!frame) {
        if (!socket_.more()) {
          ended_ = true;
          return done();
        }
        continue;
      }
      take(*frame);
    }
    return true;
  }
  /// The stream's answer once it is over, or as much as came before the connection's end.
  const Reply& reply(std::uint32_t stream) {
    (void)until([&] { return replies_[stream].over(); });
    return replies_[stream];
  }
  /// As much as has come.
  Reply& so_far(std::uint32_t stream) { return replies_[stream]; }
  /// Until the server has ended the connection. False: it did not in time.
  bool until_closed() {
    (void)until([] { return false; });
    return socket_.ended() || socket_.error() == ECONNRESET;
  }
  /// A PING and its answer: the server has taken in all before it.
  bool ping() {
    const std::string payload = "ping" + number(++pings_, 4);
    (void)send(frame(kPing, 0, 0, payload));
    return until([&] { return last_pong_ == payload; });
  }
  [[nodiscard]] const std::vector<Frame>& goaways() const { return goaways_; }
  /// Of the last GOAWAY.
  [[nodiscard]] std::optional<std::uint32_t> goaway() const {
    if (goaways_.empty()) return std::nullopt;
    return read_number(std::string_view(goaways_.back().payload).substr(4, 4));
  }
  [[nodiscard]] std::uint32_t goaway_last_stream() const {
    return read_number(std::string_view(goaways_.back().payload).substr(0, 4)) & 0x7fffffffU;
  }
  [[nodiscard]] std::size_t frames() const { return frames_; }
  [[nodiscard]] std::uint64_t window_updates(std::uint32_t stream) { return windows_[stream]; }
  [[nodiscard]] std::map<unsigned, std::uint32_t>& server_settings() { return server_settings_; }
  AnswerReader& connection() { return socket_; }

  static std::uint32_t read_number(std::string_view bytes) {
    std::uint32_t value = 0;
    for (const char c : bytes) value = value << 8U | static_cast<unsigned char>(c);
    return value;
  }

 private:
  std::optional<Frame> next() {
    const std::string_view rest = socket_.rest();
    if (rest.size() < 9) return std::nullopt;
    const std::size_t length = read_number(rest.substr(0, 3));
    if (rest.size() < 9 + length) return std::nullopt;
    Frame frame{static_cast<unsigned char>(rest[3]), static_cast<unsigned char>(rest[4]),
                read_number(rest.substr(5, 4)), std::string(rest.substr(9, length))};
    socket_.drop(9 + length);
    return frame;
  }
  void take(const Frame& f) {
    ++frames_;
    Reply& reply = replies_[f.stream];
    switch (f.type) {
      case kData:
        if (!f.payload.empty() && (data_order.empty() || data_order.back() != f.stream)) data_order.push_back(f.stream);
        reply.body += f.payload;
        ++reply.data_frames;
        reply.ended |= (f.flags & kEndStream) != 0;
        break;
      case kHeaders:
        block_ = f.payload;
        block_ended_ = (f.flags & kEndStream) != 0;
        if ((f.flags & kEndHeaders) != 0) take_block(reply);
        break;
      case kContinuation:
        block_ += f.payload;
        if ((f.flags & kEndHeaders) != 0) take_block(reply);
        break;
      case kRstStream: reply.reset = read_number(f.payload); break;
      case kSettings:
        if ((f.flags & kAck) != 0) break;
        for (std::size_t at = 0; at + 6 <= f.payload.size(); at += 6)
          server_settings_[read_number(std::string_view(f.payload).substr(at, 2))] =
              read_number(std::string_view(f.payload).substr(at + 2, 4));
        (void)send(settings_ack());
        break;
      case kPing:
        if ((f.flags & kAck) != 0)
          last_pong_ = f.payload;
        else if (answers_pings)
          (void)send(frame(kPing, kAck, 0, f.payload));
        break;
      case kGoaway: goaways_.push_back(f); break;
      case kWindowUpdate: windows_[f.stream] += read_number(f.payload); break;
      default: break;
    }
  }
  void take_block(Reply& reply) {
    Fields fields;
    auto* at = reinterpret_cast<std::uint8_t*>(block_.data());
    std::size_t left = block_.size();
    for (;;) {
      nghttp2_nv nv{};
      int flags = 0;
      const ssize_t n = nghttp2_hd_inflate_hd2(inflater_, &nv, &flags, at, left, 1);
      if (n < 0) throw std::runtime_error("the server's HPACK is wrong");
      at += n;
      left -= static_cast<std::size_t>(n);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0)
        fields.emplace_back(std::string(reinterpret_cast<char*>(nv.name), nv.namelen),
                            std::string(reinterpret_cast<char*>(nv.value), nv.valuelen));
      if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
    }
    (void)nghttp2_hd_inflate_end_headers(inflater_);
    reply.ended |= block_ended_;
    if (reply.status != 0) {
      reply.trailers = fields;
      return;
    }
    const unsigned status =
        !fields.empty() && fields[0].first == ":status" ? static_cast<unsigned>(std::stoul(fields[0].second)) : 0;
    if (status < 200) {
      reply.interim.push_back(status);
      return;
    }
    reply.status = status;
    reply.fields = fields;
  }

  const std::unique_ptr<AnswerReader> connection_;
  AnswerReader& socket_;
  nghttp2_hd_inflater* inflater_ = nullptr;
  std::map<std::uint32_t, Reply> replies_;
  std::map<std::uint32_t, std::uint64_t> windows_;
  std::map<unsigned, std::uint32_t> server_settings_;
  std::vector<Frame> goaways_;
  std::string block_;
  std::string last_pong_;
  std::size_t frames_ = 0;
  std::uint32_t pings_ = 0;
  bool block_ended_ = false;
  bool ended_ = false;

 public:
  bool answers_pings = true;
  std::vector<std::uint32_t>
      data_order;  // streams of DATA, one entry for as many frames as came together; empty ones left out
};

inline http::ServerOptions h2c_options() {
  http::ServerOptions options;
  options.http2.prior_knowledge = true;
  return options;
}

}  // namespace fiberd::test::http2

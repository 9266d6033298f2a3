#pragma once
// FrameGuard: what a client's frames cost us beyond what they are good for. It walks along the bytes from frame head to
// frame head, before nghttp2 reads them, so that it sees all of them, and their order, whatever the library does with
// them.
//
// One score a connection. A frame that asks us for work, or for nothing at all, costs points: PING and SETTINGS want an
// answer each, RST_STREAM undoes a request that was begun, CONTINUATION makes no progress, nor does DATA that is empty
// or all padding. Points are forgiven by time, a tenth of the limit each second, and by what the client has really got:
// WINDOW_UPDATEs come with the data that they are about, PRIORITY with requests. Whoever comes to the limit is a flood,
// and its connection ends (ENHANCE_YOUR_CALM). One score, and not a limit a kind: a client that does a little of each
// harms as much.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/http/h2/code.hpp"

namespace fiberd::http::h2 {

/// Not thread-safe.
class FrameGuard {
 public:
  /// Of a connection whose client's preface comes first. `limit`: points.
  explicit FrameGuard(std::uint32_t limit) noexcept : limit_(limit) {}

  /// Goes on from where the last call ended. `now`: monotonic ns. Not no_error: the connection's end: a flood, or what
  /// nghttp2 lets pass of frames' heads.
  [[nodiscard]] Code walk(std::string_view bytes, std::int64_t now) noexcept;
  /// For what is seen elsewhere: a stream that we have to reset, a request beyond what is served. False: too much.
  [[nodiscard]] bool charge(std::uint32_t points) noexcept {
    score_ += points;
    return score_ < limit_;
  }
  /// A frame of data was sent, whose receipt will be told.
  void note_data_sent() noexcept { forgive(kDataSent); }

  /// Neither inside of a frame nor of a block of fields; the client's preface has come.
  [[nodiscard]] bool between_frames() const noexcept { return at_ == 0 && left_ == 0 && preface_ == 0 && !block_; }
  /// Inside of a frame's payload that is a request's body.
  [[nodiscard]] bool in_data() const noexcept { return left_ != 0 && type_ == kData; }
  /// HEADERS and CONTINUATION bytes of the block that ended last, or is under way.
  [[nodiscard]] std::uint32_t block_bytes() const noexcept { return block_bytes_; }
  /// Frames that have begun, but for those inside of a block of fields: while it stays the same one is under way.
  [[nodiscard]] std::uint64_t begun() const noexcept { return begun_; }
  [[nodiscard]] std::uint32_t score() const noexcept { return score_; }

  static constexpr std::size_t kPreface = 24;

 private:
  static constexpr std::size_t kHead = 9;
  static constexpr std::uint8_t kData = 0;
  static constexpr std::uint32_t kDataSent = 3;
  static constexpr std::uint32_t kRequest = 1;
  void forgive(std::uint32_t points) noexcept { score_ -= points < score_ ? points : score_; }
  void forgive_by_time(std::int64_t now) noexcept;
  [[nodiscard]] std::uint32_t points() noexcept;
  [[nodiscard]] Code check_head() const noexcept;

  const std::uint32_t limit_;
  std::uint32_t score_ = 0;
  std::uint32_t preface_ = kPreface;  // bytes of it that have not come
  std::uint32_t left_ = 0;            // of the frame's payload
  std::uint32_t block_bytes_ = 0;
  std::int64_t forgiven_at_ = 0;
  std::uint64_t begun_ = 0;
  std::array<std::uint8_t, kHead> head_{};
  std::uint8_t at_ = 0;  // bytes of the head
  std::uint8_t type_ = 0;
  bool block_ = false;   // of fields: its end has not come
  bool padded_ = false;  // DATA that ends nothing: how much of it is padding its next byte says
};

}  // namespace fiberd::http::h2

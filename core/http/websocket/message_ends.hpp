#pragma once
// MessageEnds: what a client sends, with the end of each compressed message written out, for Beast's codec.
//
// A compressed message lacks the last four bytes of its DEFLATE data, 00 00 ff ff (RFC 7692 section 7.2.1), and its
// reader puts them back. Beast 1.81 puts them back from the first again whenever the room for what is unpacked was
// full in the middle of them, or when anything was unpacked with them at all: right messages are refused then, some of
// those whose size is a little above that of the room. So each compressed message is given to it as one that goes on
// with a frame more: the four bytes, and the head of an empty block, to which Beast's own four belong. All that there
// is to unpack has been unpacked before them.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace fiberd::http {

/// Of one connection, client to server. Frames that may not be are left as they are: Beast refuses them.
class MessageEnds {
 public:
  /// Looks through what came, and makes a compressed message's last frame one that is not the last. How many bytes of
  /// it go on: fewer than there are, or all with owed(), where kEnd is to be put in.
  [[nodiscard]] std::size_t pass(std::span<std::byte> data) noexcept;
  /// kEnd belongs behind the bytes that pass() let on.
  [[nodiscard]] bool owed() const noexcept { return owed_; }
  void put_in() noexcept { owed_ = false; }

  /// A last frame: a continuation of five bytes, masked by zeros.
  static constexpr std::array<std::byte, 11> kEnd{std::byte{0x80}, std::byte{0x85}, std::byte{0}, std::byte{0},
                                                  std::byte{0},    std::byte{0},    std::byte{0}, std::byte{0},
                                                  std::byte{0xff}, std::byte{0xff}, std::byte{0}};

 private:
  /// One byte of a frame's head.
  void take_head(std::byte& b) noexcept;

  std::uint64_t payload_ = 0;     // what is to come of the frame's
  std::uint64_t length_ = 0;      // of the head, as far as it is read
  std::uint8_t at_ = 0;           // bytes of the head
  std::uint8_t head_size_ = 2;    // it has
  std::uint8_t length_size_ = 0;  // those of them that are a longer length
  bool compressed_ = false;       // the message
  bool last_ = false;             // this frame ends a compressed message
  bool owed_ = false;
};

}  // namespace fiberd::http

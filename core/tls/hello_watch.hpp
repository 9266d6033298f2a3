#pragma once
// HelloWatch: looks at a client's bytes before OpenSSL does, so that no hello makes it take more memory than one has.
// OpenSSL makes room for as much as a message announces, up to 128 KiB of a hello, and fills it with zeros, before any
// of it has come. Of other messages its own limits are enough (ServerContext sets that of certificates).
//
// It follows records (RFC 8446 section 5.1) as long as they may be a hello in plain text: the first message, and the
// one that answers a HelloRetryRequest.
#include <array>
#include <cstdint>
#include <string_view>

namespace fiberd::tls {

/// Not thread-safe.
class HelloWatch {
 public:
  /// Bytes of a hello, its head not counted.
  static constexpr unsigned kMost = 16 * 1024;

  /// What comes next. `may_be_hello`: a message that begins now may be one, for the server has said nothing, or has
  /// asked for another. False: it announces a hello that no client has, or comes in crumbs.
  [[nodiscard]] bool see(std::string_view bytes, bool may_be_hello) noexcept;
  /// The first byte that came; 0: none has.
  [[nodiscard]] unsigned char first() const noexcept { return first_; }

 private:
  std::array<unsigned char, 9> head_{};  // of a record, and of the message in it
  std::uint8_t size_ = 0;
  unsigned char first_ = 0;
  std::uint32_t record_left_ = 0;
  std::uint32_t message_left_ = 0;  // of a hello that goes on in the next record
};

}  // namespace fiberd::tls

#pragma once
// The PROXY protocol, versions 1 and 2 (Tarreau: The PROXY protocol, versions 1 & 2): a header that a proxy in front of
// us sends before the connection's first byte, with the addresses of the connection that it was asked on.
//
// A pure state machine over bytes as they come, in pieces of any size: it reads nothing itself and keeps at most 124
// bytes. Whether the peer is one that may send such a header (trusted_proxies) is for the caller to decide first: who
// may not, and sends one, sends bytes that are no request.
//
// Decisions
//  - A wrong byte is refused when it comes, not when the header would have ended: nobody waits for a signature that
//    cannot become one any more.
//  - Version 1 is at most 107 bytes with its CRLF, as the protocol says. Version 2 says its length; more than kMaxV2 is
//    refused at once. (The protocol allows 64 KiB; real ones have some 50 bytes, and some hundreds with a certificate's
//    names.)
//  - Every byte of the length that version 2 says is taken, also where the addresses need less: what is left are TLVs
//    and is skipped unread. A length that is shorter than the addresses is refused.
//  - LOCAL (a proxy's own health check), UNKNOWN and UNSPEC leave the addresses of the connection as they are: local()
//    says so. Version 1's UNKNOWN may be followed by anything up to the line's end.
//  - Addresses are read strictly: decimal ports without leading zeros, one blank between two, no trailing bytes.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/net/endpoint.hpp"

namespace fiberd::net {

/// Why a header was refused.
enum class ProxyRefusal : std::uint8_t {
  none,
  signature,      ///< the first bytes begin no header of either version
  version,        ///< version 2's signature, and another version behind it
  command,        ///< neither LOCAL nor PROXY
  family,         ///< an address family or transport that the protocol does not know
  too_long,       ///< a version 1 line beyond 107 bytes, or a version 2 header beyond kMaxV2
  too_short,      ///< version 2 says fewer bytes than its addresses have
  malformed_line  ///< version 1: not "PROXY TCP4|TCP6 source destination port port"
};
/// "signature", …: the label of metrics and the word of logs.
[[nodiscard]] std::string_view token_of(ProxyRefusal refusal) noexcept;

/// Not thread-safe. One object a connection; nothing is allocated.
class ProxyHeader {
 public:
  static constexpr std::size_t kMaxV1 = 107;
  /// The longest version 2 header with its TLVs.
  static constexpr std::size_t kMaxV2 = 4096;
  enum class State : std::uint8_t { more, done, refused };

  /// The next bytes of the connection. `used` becomes how many of them belong to the header: all of them unless it
  /// ends; what is behind it is the connection's. After done or refused: nothing is used any more.
  State feed(std::string_view bytes, std::size_t& used) noexcept;

  [[nodiscard]] State state() const noexcept { return state_; }
  [[nodiscard]] ProxyRefusal why() const noexcept { return why_; }
  /// 1 or 2, as far as that is known; else 0.
  [[nodiscard]] unsigned version() const noexcept { return kind_ == Kind::v1 ? 1 : kind_ == Kind::v2 ? 2 : 0; }
  /// Refused for its signature: what was taken before the wrong byte, the beginning of something else. Where a header
  /// may be left out, this is the connection's, before what was not used.
  [[nodiscard]] std::string_view taken() const noexcept {
    return why_ == ProxyRefusal::signature ? std::string_view(held_.data(), size_) : std::string_view();
  }
  /// The header says nothing of addresses: those of the connection itself hold.
  [[nodiscard]] bool local() const noexcept { return local_; }
  /// Of the connection that the proxy was asked on: the client, and where it connected to. Unspecified when local().
  [[nodiscard]] const Endpoint& source() const noexcept { return source_; }
  [[nodiscard]] const Endpoint& destination() const noexcept { return destination_; }

 private:
  enum class Kind : std::uint8_t { unknown, v1, v2 };
  [[nodiscard]] bool take(char c) noexcept;
  [[nodiscard]] bool take_v1(char c) noexcept;
  void read_line() noexcept;
  void read_fixed() noexcept;
  void read_addresses() noexcept;
  void refuse(ProxyRefusal why) noexcept;

  std::array<char, 124> held_{};  // version 1: the line; version 2: 16 fixed bytes, then the addresses
  std::uint16_t size_ = 0;        // of it
  std::uint16_t addresses_ = 0;   // version 2: bytes of them
  std::uint16_t left_ = 0;        // version 2: bytes of the header behind the fixed ones that are still to come
  Kind kind_ = Kind::unknown;
  State state_ = State::more;
  ProxyRefusal why_ = ProxyRefusal::none;
  bool local_ = true;
  Endpoint source_;
  Endpoint destination_;
};

}  // namespace fiberd::net

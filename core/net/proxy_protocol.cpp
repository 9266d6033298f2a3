#include "core/net/proxy_protocol.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

#include "core/base/host_port.hpp"
#include "core/net/address_ranges.hpp"

namespace fiberd::net {
namespace {

constexpr std::string_view kV1 = "PROXY ";
constexpr std::string_view kV2("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::size_t kFixed = 16;

unsigned octet(char c) noexcept { return static_cast<unsigned char>(c); }

/// Up to the next blank, which is taken along; nullopt when there is none.
std::optional<std::string_view> next_word(std::string_view& line) noexcept {
  const std::size_t blank = line.find(' ');
  if (blank == std::string_view::npos) return std::nullopt;
  const std::string_view word = line.substr(0, blank);
  line.remove_prefix(blank + 1);
  return word;
}

std::optional<std::uint16_t> read_port(std::string_view digits) noexcept {
  if (digits.size() > 1 && digits.front() == '0') return std::nullopt;
  return parse_port(digits);
}

std::uint16_t big_endian(const char* at) noexcept {
  return static_cast<std::uint16_t>(octet(at[0]) << 8U | octet(at[1]));
}

Endpoint unix_endpoint(const char* path) noexcept {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t size = strnlen(path, sizeof address.sun_path - 1);
  std::memcpy(address.sun_path, path, size);
  return Endpoint::from(reinterpret_cast<const sockaddr*>(&address),
                        static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size + 1));
}

}  // namespace

std::string_view token_of(ProxyRefusal refusal) noexcept {
  switch (refusal) {
    case ProxyRefusal::none: return "none";
    case ProxyRefusal::signature: return "signature";
    case ProxyRefusal::version: return "version";
    case ProxyRefusal::command: return "command";
    case ProxyRefusal::family: return "family";
    case ProxyRefusal::too_long: return "too_long";
    case ProxyRefusal::too_short: return "too_short";
    case ProxyRefusal::malformed_line: return "malformed_line";
  }
  return "unknown";
}

void ProxyHeader::refuse(ProxyRefusal why) noexcept {
  state_ = State::refused;
  why_ = why;
  local_ = true;
  source_ = Endpoint();
  destination_ = Endpoint();
}

ProxyHeader::State ProxyHeader::feed(std::string_view bytes, std::size_t& used) noexcept {
  used = 0;
  while (state_ == State::more && used < bytes.size()) {
    if (kind_ == Kind::v2 && size_ == kFixed + addresses_) {
      // TLVs: skipped at one go.
      const std::size_t skipped = std::min<std::size_t>(left_, bytes.size() - used);
      used += skipped;
      left_ = static_cast<std::uint16_t>(left_ - skipped);
      if (left_ == 0) read_addresses();
      continue;
    }
    if (!take(bytes[used])) break;
    ++used;
  }
  return state_;
}

/// False: the byte is not one of the header's.
bool ProxyHeader::take(char c) noexcept {
  if (kind_ == Kind::unknown) kind_ = c == kV1[0] ? Kind::v1 : Kind::v2;
  if (kind_ == Kind::v1) return take_v1(c);
  if (size_ < kV2.size() && c != kV2[size_]) {
    refuse(ProxyRefusal::signature);
    return false;
  }
  held_[size_++] = c;
  if (size_ > kFixed) --left_;
  if (size_ == kFixed) read_fixed();
  if (state_ == State::more && size_ >= kFixed && left_ == 0) read_addresses();
  return true;
}

bool ProxyHeader::take_v1(char c) noexcept {
  if (size_ < kV1.size() && c != kV1[size_]) {
    refuse(ProxyRefusal::signature);
    return false;
  }
  // The line has a CR only before its LF, and nothing behind a CR but that.
  const bool after_cr = size_ != 0 && held_[size_ - 1] == '\r';
  if (after_cr != (c == '\n')) {
    refuse(ProxyRefusal::malformed_line);
    return false;
  }
  if (size_ == kMaxV1 - (c == '\n' ? 0 : 1)) {
    refuse(ProxyRefusal::too_long);
    return false;
  }
  held_[size_++] = c;
  if (c == '\n') read_line();
  return true;
}

void ProxyHeader::read_line() noexcept {
  std::string_view line(held_.data(), size_);
  line.remove_suffix(2);
  line.remove_prefix(kV1.size());
  state_ = State::done;
  if (line == "UNKNOWN" || line.starts_with("UNKNOWN ")) return;
  const bool v6 = line.starts_with("TCP6 ");
  if (!v6 && !line.starts_with("TCP4 ")) return refuse(ProxyRefusal::malformed_line);
  line.remove_prefix(5);
  const std::optional<std::string_view> from = next_word(line);
  const std::optional<std::string_view> to = next_word(line);
  const std::optional<std::string_view> from_port = next_word(line);
  if (!from || !to || !from_port) return refuse(ProxyRefusal::malformed_line);
  Result<Endpoint> source = parse_address(*from);
  Result<Endpoint> destination = parse_address(*to);
  const std::optional<std::uint16_t> source_port = read_port(*from_port);
  const std::optional<std::uint16_t> destination_port = read_port(line);
  const int family = v6 ? AF_INET6 : AF_INET;
  if (!source || !destination || !source_port || !destination_port || source->family() != family ||
      destination->family() != family)
    return refuse(ProxyRefusal::malformed_line);
  source->set_port(*source_port);
  destination->set_port(*destination_port);
  source_ = *source;
  destination_ = *destination;
  local_ = false;
}

void ProxyHeader::read_fixed() noexcept {
  const unsigned version = octet(held_[12]) >> 4U;
  const unsigned command = octet(held_[12]) & 15U;
  const unsigned family = octet(held_[13]) >> 4U;
  const unsigned transport = octet(held_[13]) & 15U;
  left_ = big_endian(&held_[14]);
  if (version != 2) return refuse(ProxyRefusal::version);
  if (command > 1) return refuse(ProxyRefusal::command);
  if (family > 3 || transport > 2) return refuse(ProxyRefusal::family);
  if (kFixed + left_ > kMaxV2) return refuse(ProxyRefusal::too_long);
  if (command == 0 || family == 0 || transport == 0) return;  // whatever else it says is skipped
  constexpr std::array<std::uint16_t, 4> kSizes = {0, 12, 36, 216};
  if (left_ < kSizes[family]) return refuse(ProxyRefusal::too_short);
  // Of Unix paths the source's alone is kept beside the fixed bytes; the rest is skipped.
  addresses_ = std::min<std::uint16_t>(kSizes[family], 108);
  local_ = false;
}

void ProxyHeader::read_addresses() noexcept {
  state_ = State::done;
  if (local_) return;
  const char* const at = held_.data() + kFixed;
  switch (octet(held_[13]) >> 4U) {
    case 1: {
      std::uint32_t hosts[2];
      std::memcpy(hosts, at, sizeof hosts);
      source_ = Endpoint::v4(ntohl(hosts[0]), big_endian(at + 8));
      destination_ = Endpoint::v4(ntohl(hosts[1]), big_endian(at + 10));
      return;
    }
    case 2: {
      in6_addr hosts[2];
      std::memcpy(hosts, at, sizeof hosts);
      source_ = Endpoint::v6(hosts[0], big_endian(at + 32));
      destination_ = Endpoint::v6(hosts[1], big_endian(at + 34));
      return;
    }
    default: source_ = unix_endpoint(at); return;
  }
}

}  // namespace fiberd::net

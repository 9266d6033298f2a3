#include "core/net/address_ranges.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>

namespace fiberd::net {

const std::error_category& range_category() noexcept {
  static const class Category final : public std::error_category {
   public:
    [[nodiscard]] const char* name() const noexcept override { return "fiberd.address_range"; }
    [[nodiscard]] std::string message(int value) const override {
      switch (static_cast<RangeError>(value)) {
        case RangeError::no_address:
          return "not an IPv4 or IPv6 address or range, such as 192.0.2.0/24, 2001:db8::/32 or 192.0.2.1";
        case RangeError::no_prefix: return "behind the '/' a number of bits is expected, such as 192.0.2.0/24";
        case RangeError::prefix_too_long: return "an IPv4 range has 0 to 32 bits, an IPv6 range 0 to 128";
        case RangeError::bits_behind_prefix:
          return "the address has bits set behind the prefix: write the range's first address, or leave out the prefix "
                 "for a single address";
        case RangeError::mapped_prefix_short:
          return "a range of IPv4-mapped addresses has 96 to 128 bits: write the IPv4 range";
      }
      return "unknown";
    }
  } instance;
  return instance;
}

namespace {

constexpr std::uint32_t v4_mask(unsigned prefix) noexcept {
  return prefix == 0 ? 0 : ~std::uint32_t{0} << (32 - prefix);
}
constexpr std::uint64_t half_mask(unsigned bits) noexcept {
  return bits == 0 ? 0 : bits >= 64 ? ~std::uint64_t{0} : ~std::uint64_t{0} << (64 - bits);
}

}  // namespace

Result<Endpoint> parse_address(std::string_view text) noexcept {
  char copy[INET6_ADDRSTRLEN] = "";
  if (text.size() >= sizeof copy || text.find('\0') != std::string_view::npos) return fail(std::errc::invalid_argument);
  text.copy(copy, text.size());
  if (text.find(':') != std::string_view::npos) {
    in6_addr address{};
    if (inet_pton(AF_INET6, copy, &address) != 1) return fail(std::errc::invalid_argument);
    return Endpoint::v6(address, 0);
  }
  in_addr address{};
  if (inet_pton(AF_INET, copy, &address) != 1) return fail(std::errc::invalid_argument);
  return Endpoint::v4(ntohl(address.s_addr), 0);
}

AddressRanges::Wide AddressRanges::wide(const in6_addr& address) noexcept {
  Wide value;
  for (unsigned i = 0; i < 8; ++i) {
    value.high = value.high << 8U | address.s6_addr[i];
    value.low = value.low << 8U | address.s6_addr[i + 8];
  }
  return value;
}

template <class T>
void AddressRanges::insert(std::vector<Interval<T>>& intervals, Interval<T> added) {
  const auto before = [](const Interval<T>& i, const T& value) { return i.last < value; };
  const auto behind = [](const T& value, const Interval<T>& i) { return value < i.first; };
  const auto begin = std::lower_bound(intervals.begin(), intervals.end(), added.first, before);
  const auto end = std::upper_bound(begin, intervals.end(), added.last, behind);
  if (begin != end) {
    added.first = std::min(added.first, begin->first);
    added.last = std::max(added.last, (end - 1)->last);
  }
  const auto at = intervals.erase(begin, end);
  intervals.insert(at, added);
}

template <class T>
bool AddressRanges::holds(const std::vector<Interval<T>>& intervals, const T& value) noexcept {
  const auto behind = [](const T& v, const Interval<T>& i) { return v < i.first; };
  const auto at = std::upper_bound(intervals.begin(), intervals.end(), value, behind);
  return at != intervals.begin() && !((at - 1)->last < value);
}

Result<void> AddressRanges::add(std::string_view text) {
  if (text == "unix:") {
    unix_ = true;
    return {};
  }
  const std::size_t slash = text.find('/');
  const Result<Endpoint> parsed = parse_address(text.substr(0, slash));
  if (!parsed) return fail(RangeError::no_address);
  const unsigned bits = parsed->family() == AF_INET ? 32 : 128;
  unsigned prefix = bits;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
    if (error == std::errc::result_out_of_range) return fail(RangeError::prefix_too_long);
    const bool padded = digits.size() > 1 && digits.front() == '0';
    if (error != std::errc{} || end != digits.data() + digits.size() || padded) return fail(RangeError::no_prefix);
    if (prefix > bits) return fail(RangeError::prefix_too_long);
  }
  if (bits == 32) {
    const auto* const v4 = reinterpret_cast<const sockaddr_in*>(parsed->data());
    const std::uint32_t first = ntohl(v4->sin_addr.s_addr);
    if ((first & ~v4_mask(prefix)) != 0) return fail(RangeError::bits_behind_prefix);
    insert(v4_, Interval<std::uint32_t>{first, first | ~v4_mask(prefix)});
    return {};
  }
  const in6_addr& address = reinterpret_cast<const sockaddr_in6*>(parsed->data())->sin6_addr;
  const Wide first = wide(address);
  const Wide mask{half_mask(std::min(prefix, 64U)), half_mask(prefix < 64 ? 0 : prefix - 64)};
  if ((first.high & ~mask.high) != 0 || (first.low & ~mask.low) != 0) return fail(RangeError::bits_behind_prefix);
  if (IN6_IS_ADDR_V4MAPPED(&address)) {
    if (prefix < 96) return fail(RangeError::mapped_prefix_short);
    const auto v4 = static_cast<std::uint32_t>(first.low);
    insert(v4_, Interval<std::uint32_t>{v4, v4 | ~v4_mask(prefix - 96)});
    return {};
  }
  insert(v6_, Interval<Wide>{first, {first.high | ~mask.high, first.low | ~mask.low}});
  return {};
}

Result<AddressRanges> AddressRanges::make(std::span<const std::string> texts, std::size_t* bad) {
  AddressRanges made;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (const Result<void> added = made.add(texts[i]); !added) {
      if (bad != nullptr) *bad = i;
      return fail(added.error());
    }
  }
  return made;
}

bool AddressRanges::contains(const Endpoint& endpoint) const noexcept {
  switch (endpoint.family()) {
    case AF_INET: return holds(v4_, ntohl(reinterpret_cast<const sockaddr_in*>(endpoint.data())->sin_addr.s_addr));
    case AF_INET6: {
      const in6_addr& address = reinterpret_cast<const sockaddr_in6*>(endpoint.data())->sin6_addr;
      const Wide value = wide(address);
      return IN6_IS_ADDR_V4MAPPED(&address) ? holds(v4_, static_cast<std::uint32_t>(value.low)) : holds(v6_, value);
    }
    case AF_UNIX: return unix_;
    default: return false;
  }
}

}  // namespace fiberd::net

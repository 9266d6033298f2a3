#pragma once
// AddressRanges: a set of IP addresses, written as CIDR ranges: who may come, and which proxies are believed.
//
// Kept as sorted intervals that do not overlap, so a look-up is one binary search however the ranges were written. IPv4
// and IPv6 are apart: a client of IPv4 that comes through an IPv6 socket (::ffff:192.0.2.1) is looked up as the IPv4
// address it is, and a range of such addresses is the IPv4 range it means. So "::/0" is all of IPv6 and no IPv4,
// "0.0.0.0/0" all of IPv4 and no IPv6, whichever socket the client came through.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "core/base/result.hpp"
#include "core/net/endpoint.hpp"

namespace fiberd::net {

/// Why a range was not understood; message() says it to whoever wrote it.
enum class RangeError {
  no_address = 1,       ///< what stands before the '/' is no IPv4 or IPv6 address
  no_prefix,            ///< what stands behind it is no number
  prefix_too_long,      ///< more than 32 bits, or 128
  bits_behind_prefix,   ///< 10.0.0.1/8: an address or a range is meant, and nobody knows which
  mapped_prefix_short,  ///< ::ffff:10.0.0.0/90: half of it would be IPv4
};

[[nodiscard]] const std::error_category& range_category() noexcept;
[[nodiscard]] inline std::error_code make_error_code(RangeError code) noexcept {
  return {static_cast<int>(code), range_category()};
}

/// Immutable once made: any number of threads may look up at once.
class AddressRanges {
 public:
  /// None: contains nobody.
  AddressRanges() noexcept = default;
  /// "192.0.2.0/24", "2001:db8::/32", "192.0.2.1" (a single address), "unix:" (every peer that came over a Unix
  /// socket). Errors: RangeError. Throws std::bad_alloc.
  [[nodiscard]] Result<void> add(std::string_view text);
  /// All of them; `bad`, if given, becomes the index of the one that is wrong. Throws std::bad_alloc.
  [[nodiscard]] static Result<AddressRanges> make(std::span<const std::string> texts, std::size_t* bad = nullptr);

  /// O(log ranges). An unspecified endpoint is in no set.
  [[nodiscard]] bool contains(const Endpoint& endpoint) const noexcept;
  [[nodiscard]] bool empty() const noexcept { return v4_.empty() && v6_.empty() && !unix_; }
  /// Intervals that are kept: those that overlap are one.
  [[nodiscard]] std::size_t size() const noexcept { return v4_.size() + v6_.size() + (unix_ ? 1 : 0); }

 private:
  struct Wide {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    friend constexpr bool operator<(const Wide& a, const Wide& b) noexcept {
      return a.high != b.high ? a.high < b.high : a.low < b.low;
    }
  };
  template <class T>
  struct Interval {
    T first;
    T last;
  };
  template <class T>
  static void insert(std::vector<Interval<T>>& intervals, Interval<T> added);
  template <class T>
  [[nodiscard]] static bool holds(const std::vector<Interval<T>>& intervals, const T& value) noexcept;
  [[nodiscard]] static Wide wide(const in6_addr& address) noexcept;

  std::vector<Interval<std::uint32_t>> v4_;
  std::vector<Interval<Wide>> v6_;
  bool unix_ = false;
};

/// An IP address alone, without a port, brackets or a zone: "192.0.2.1", "2001:db8::1". The port is 0. Error:
/// invalid_argument. Never allocates.
[[nodiscard]] Result<Endpoint> parse_address(std::string_view text) noexcept;

}  // namespace fiberd::net

template <>
struct std::is_error_code_enum<fiberd::net::RangeError> : std::true_type {};

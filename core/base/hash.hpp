#pragma once
// A hash of bytes for tables whose keys come from outside: fast on short texts, and seeded, so that nobody can choose
// keys that fall together. Not for secrets, and not the same in two processes.
//
// 16 bytes a step through a 64 × 64 → 128 bit multiplication whose halves are xored: the construction of wyhash (Wang
// Yi et al.: wyhash and wyrand, 2020), written anew.
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace fiberd {

namespace detail {
[[nodiscard]] inline std::uint64_t fold_product(std::uint64_t a, std::uint64_t b) noexcept {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
}
template <class T>
[[nodiscard]] inline std::uint64_t read_bytes(const char* p) noexcept {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}
}  // namespace detail

[[nodiscard]] inline std::uint64_t hash_bytes(const char* p, std::size_t size, std::uint64_t seed) noexcept {
  static constexpr std::uint64_t kFirst = 0xa076'1d64'78bd'642fU;
  static constexpr std::uint64_t kSecond = 0xe703'7ed1'a0b4'28dbU;
  std::uint64_t state = seed ^ detail::fold_product(seed ^ kFirst, size ^ kSecond);
  std::size_t left = size;
  for (; left > 16; left -= 16, p += 16)
    state = detail::fold_product(detail::read_bytes<std::uint64_t>(p) ^ kSecond,
                                 detail::read_bytes<std::uint64_t>(p + 8) ^ state);
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  if (left >= 8) {  // the two words overlap
    a = detail::read_bytes<std::uint64_t>(p);
    b = detail::read_bytes<std::uint64_t>(p + left - 8);
  } else if (left >= 4) {
    a = detail::read_bytes<std::uint32_t>(p);
    b = detail::read_bytes<std::uint32_t>(p + left - 4);
  } else if (left != 0) {
    a = static_cast<unsigned char>(p[0]) | std::uint64_t{static_cast<unsigned char>(p[left / 2])} << 8U |
        std::uint64_t{static_cast<unsigned char>(p[left - 1])} << 16U;
  }
  return detail::fold_product(kFirst ^ size, detail::fold_product(a ^ kSecond, b ^ state));
}

/// Drawn from the kernel once a process.
[[nodiscard]] std::uint64_t hash_seed() noexcept;

}  // namespace fiberd

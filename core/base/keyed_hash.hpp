#pragma once
// KeyedHash: SipHash (Aumasson, Bernstein: SipHash: a fast short-input PRF, INDOCRYPT 2012), for tables whose keys are
// chosen by clients: without the secret nobody can find keys that collide. SipHash-1-3 as hash tables use it. hash.hpp
// has the faster one for tables where a collision costs time and nothing else.
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace fiberd {

/// `Compress` rounds a word and `Finish` at the end; the paper's SipHash-2-4 is siphash<2, 4>.
template <unsigned Compress, unsigned Finish>
[[nodiscard]] std::uint64_t siphash(std::uint64_t k0, std::uint64_t k1, std::string_view bytes) noexcept {
  static_assert(std::endian::native == std::endian::little, "words are read as they lie");
  std::uint64_t v0 = k0 ^ 0x736f6d6570736575U;
  std::uint64_t v1 = k1 ^ 0x646f72616e646f6dU;
  std::uint64_t v2 = k0 ^ 0x6c7967656e657261U;
  std::uint64_t v3 = k1 ^ 0x7465646279746573U;
  const auto round = [&]() noexcept {
    v0 += v1;
    v2 += v3;
    v1 = std::rotl(v1, 13) ^ v0;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 = std::rotl(v0, 32);
    v2 += v1;
    v0 += v3;
    v1 = std::rotl(v1, 17) ^ v2;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 = std::rotl(v2, 32);
  };
  const auto absorb = [&](std::uint64_t word) noexcept {
    v3 ^= word;
    for (unsigned i = 0; i < Compress; ++i) round();
    v0 ^= word;
  };
  const char* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; left -= 8, at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, 8);
    absorb(word);
  }
  std::uint64_t last = 0;
  if (left != 0) std::memcpy(&last, at, left);
  absorb(last | static_cast<std::uint64_t>(bytes.size()) << 56U);
  v2 ^= 0xff;
  for (unsigned i = 0; i < Finish; ++i) round();
  return v0 ^ v1 ^ v2 ^ v3;
}

class KeyedHash {
 public:
  /// A secret of its own from the kernel.
  KeyedHash() noexcept;
  /// `kind` tells apart what must not meet.
  [[nodiscard]] std::uint64_t of(std::string_view bytes, std::uint8_t kind = 0) const noexcept {
    return siphash<1, 3>(k0_ + kind, k1_, bytes);
  }

 private:
  std::uint64_t k0_;
  std::uint64_t k1_;
};

}  // namespace fiberd

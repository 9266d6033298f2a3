#include "core/base/constant_time.hpp"

#include <cstddef>

namespace fiberd {

// In a source of its own: where the compiler saw the caller it might leave the loop early. The asm makes it forget what
// it knows of the sum so far.
bool equal_in_constant_time(std::string_view given, std::string_view secret) noexcept {
  unsigned different = given.size() == secret.size() ? 0 : 1;
  if (secret.empty()) return different == 0;
  std::size_t at = 0;  // of the secret, over and over again: as many steps for each size of it
  for (const char c : given) {
    different |= static_cast<unsigned>(static_cast<unsigned char>(c) ^ static_cast<unsigned char>(secret[at]));
    at = at + 1 == secret.size() ? 0 : at + 1;
    asm volatile("" : "+r"(different));
  }
  return different == 0;
}

}  // namespace fiberd

#include "core/base/keyed_hash.hpp"

#include <sys/random.h>

#include "core/base/clock.hpp"

namespace fiberd {

KeyedHash::KeyedHash() noexcept : k0_(static_cast<std::uint64_t>(monotonic_now())), k1_(~k0_) {
  std::uint64_t secret[2]{};
  if (::getrandom(secret, sizeof secret, 0) == static_cast<ssize_t>(sizeof secret)) {
    k0_ = secret[0];
    k1_ = secret[1];
  }
}

}  // namespace fiberd

#include "core/base/hash.hpp"

#include <sys/random.h>
#include <time.h>

namespace fiberd {

std::uint64_t hash_seed() noexcept {
  static const std::uint64_t seed = [] {
    std::uint64_t s = 0;
    if (::getrandom(&s, sizeof s, GRND_NONBLOCK) == static_cast<ssize_t>(sizeof s)) return s;
    // Early after boot: better than a constant.
    timespec now{};
    (void)::clock_gettime(CLOCK_MONOTONIC, &now);
    return detail::fold_product(static_cast<std::uint64_t>(now.tv_nsec) ^ 0x9e37'79b9'7f4a'7c15U,
                                reinterpret_cast<std::uintptr_t>(&s) ^ static_cast<std::uint64_t>(now.tv_sec));
  }();
  return seed;
}

}  // namespace fiberd

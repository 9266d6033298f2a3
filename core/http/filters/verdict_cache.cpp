#include "core/http/filters/verdict_cache.hpp"

#include <sys/random.h>

#include <string.h>
#include <algorithm>
#include <bit>
#include <string>

#include "core/base/clock.hpp"
#include "core/base/keyed_hash.hpp"

namespace fiberd::http {

VerdictCache::VerdictCache(std::size_t entries, std::chrono::nanoseconds yes_for, std::chrono::nanoseconds no_for)
    : yes_for_(yes_for), no_for_(no_for) {
  // The kernel's, and where it has none yet another's that is as secret.
  for (std::uint64_t& word : secret_)
    if (::getrandom(&word, sizeof word, 0) != sizeof word) word = KeyedHash().of("verdicts");
  if (entries == 0) return;
  const std::size_t sets = std::bit_ceil((entries + kWays - 1) / kWays);
  yes_.resize(sets);
  no_.resize(sets);
}

VerdictCache::Key VerdictCache::key(std::string_view user, std::string_view password, std::uint64_t generation) const {
  // No colon in a user, so no two pairs are the same text.
  std::string text(reinterpret_cast<const char*>(&generation), sizeof generation);
  text.reserve(text.size() + user.size() + 1 + password.size());
  text.append(user).append(1, ':').append(password);
  const Key made{siphash<2, 4>(secret_[0], secret_[1], text), siphash<2, 4>(secret_[2], secret_[3], text)};
  ::explicit_bzero(text.data(), text.size());
  return made;
}

VerdictCache::Entry* VerdictCache::entry_of(std::vector<Set>& sets, const Key& key) noexcept {
  Set& set = sets[key.low & (sets.size() - 1)];
  const auto at = std::find_if(set.begin(), set.end(), [&](const Entry& e) { return e.until != 0 && e.key == key; });
  return at == set.end() ? nullptr : &*at;
}

std::optional<bool> VerdictCache::find(const Key& key, std::int64_t now) noexcept {
  const LockGuard guard(lock_);
  if (yes_.empty()) return std::nullopt;
  if (const Entry* const e = entry_of(yes_, key); e != nullptr && e->until > now) return true;
  if (const Entry* const e = entry_of(no_, key); e != nullptr && e->until > now) return false;
  return std::nullopt;
}

void VerdictCache::keep(const Key& key, bool verdict, std::int64_t now) noexcept {
  const std::int64_t until = time_after(now, verdict ? yes_for_ : no_for_);
  if (until <= now) return;
  const LockGuard guard(lock_);
  if (yes_.empty()) return;
  std::vector<Set>& sets = verdict ? yes_ : no_;
  Entry* entry = entry_of(sets, key);
  if (entry == nullptr) {
    Set& set = sets[key.low & (sets.size() - 1)];
    entry =
        &*std::min_element(set.begin(), set.end(), [](const Entry& a, const Entry& b) { return a.until < b.until; });
  }
  *entry = {key, until};
}

}  // namespace fiberd::http

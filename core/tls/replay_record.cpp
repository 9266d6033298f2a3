#include "core/tls/replay_record.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "core/base/hash.hpp"

namespace fiberd::tls {

/// Where it is, or would be.
std::size_t ReplayRecord::slot_of(const Table& table, std::uint64_t hash) noexcept {
  std::size_t slot = hash % kSlots;
  while (table[slot] != 0 && table[slot] != hash) slot = (slot + 1) % kSlots;
  return slot;
}

ReplayRecord::Verdict ReplayRecord::take(std::span<const unsigned char> random, std::int64_t now) noexcept {
  const std::uint64_t hash =
      std::max<std::uint64_t>(1, hash_bytes(reinterpret_cast<const char*>(random.data()), random.size(), hash_seed()));
  const LockGuard guard(lock_);
  if (now_ == nullptr) {
    now_.reset(new (std::nothrow) std::uint64_t[kSlots]());
    before_.reset(new (std::nothrow) std::uint64_t[kSlots]());
    if (now_ == nullptr || before_ == nullptr) {
      now_.reset();
      return Verdict::uncertain;
    }
    begun_ = now;
  }
  // What was forgotten by a clock that then goes back would be good again.
  if (now < latest_) return Verdict::uncertain;
  latest_ = now;
  if (now - begun_ >= kTurn) {
    std::swap(now_, before_);
    std::fill_n(now_.get(), kSlots, 0);
    if (now - begun_ >= 2 * kTurn) std::fill_n(before_.get(), kSlots, 0);
    begun_ = now;
    count_ = 0;
  }
  std::uint64_t& slot = now_[slot_of(now_, hash)];
  if (slot != 0 || before_[slot_of(before_, hash)] != 0) return Verdict::seen;
  if (count_ == kMost) return Verdict::uncertain;
  slot = hash;
  ++count_;
  return Verdict::fresh;
}

}  // namespace fiberd::tls

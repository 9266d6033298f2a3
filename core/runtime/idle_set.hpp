#pragma once
// IdleSet: which Processors sleep, and whether one spins. The protocol that keeps work from waiting for a sleeper.
//
// Submitting work:   queue it; then, if some Processor sleeps and none spins, take the one spinning token, take one
//                    sleeper out of the set and wake it: it wakes up holding the token.
// Going to sleep:    enter the set; give the token back (if held); THEN look at every queue, timer and poller again;
//                    only then sleep.
// A submitter that saw a spinner did nothing, but then its queueing came before the token was given back, hence before
// the spinner's second look. A submitter that saw no sleeper came before the sleeper entered, hence before its second
// look. So either the submitter wakes somebody or the sleeper finds the work.
// A spinner that found work and a submitter that found no sleeper give the token back and look once more, since others
// may have relied on it. (Work that a Processor queues for itself is read by its own store buffer first: there the
// wake-up may be missed by a hair; the work still runs where it is queued, and sysmon wakes a helper within its
// period.)
//
// At most ONE Processor spins: with more, an almost idle server used twice the CPU.
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace fiberd::runtime {

// A look at the set is on the way of each wake-up, so only words of places that exist are looked at: one up to 64.
inline constexpr unsigned kNoSleeper = ~0U;

template <std::size_t kMax = 256, template <class> class Atomic = std::atomic>
class BasicIdleSet {
 public:
  static constexpr unsigned kNone = kNoSleeper;

  /// From now on `index` may enter. Before any Processor does under it; one caller at a time.
  void cover(unsigned index) noexcept {
    if (words_.load(std::memory_order_relaxed) <= index / 64) words_.store(index / 64 + 1, std::memory_order_seq_cst);
  }
  [[nodiscard]] bool any_idle() const noexcept {
    // A submitter that does not know of a word yet came before those who sleep there entered.
    const unsigned words = words_.load(std::memory_order_seq_cst);
    for (unsigned i = 0; i < words; ++i)
      if (mask_[i].load(std::memory_order_seq_cst) != 0) return true;
    return false;
  }
  [[nodiscard]] unsigned count() const noexcept {
    unsigned n = 0;
    for (const auto& word : mask_)
      if (const auto w = word.load(std::memory_order_seq_cst); w != 0) n += static_cast<unsigned>(std::popcount(w));
    return n;
  }
  void enter(unsigned index) noexcept { mask_[index / 64].fetch_or(bit(index), std::memory_order_seq_cst); }
  /// True when the caller took `index` out; false when somebody else did (a waker: the spinning token came with it).
  [[nodiscard]] bool leave(unsigned index) noexcept {
    return (mask_[index / 64].fetch_and(~bit(index), std::memory_order_seq_cst) & bit(index)) != 0;
  }
  /// Takes the token. At most one holder.
  [[nodiscard]] bool try_spin() noexcept {
    std::uint32_t none = 0;
    return spinning_.load(std::memory_order_seq_cst) == 0 &&
           spinning_.compare_exchange_strong(none, 1, std::memory_order_seq_cst, std::memory_order_seq_cst);
  }
  void stop_spinning() noexcept { spinning_.store(0, std::memory_order_seq_cst); }
  [[nodiscard]] bool spinning() const noexcept { return spinning_.load(std::memory_order_seq_cst) != 0; }

  /// For a submitter: the sleeper to wake, or kNone when none sleeps or somebody spins already.
  [[nodiscard]] unsigned claim_sleeper() noexcept {
    // Looked at again after the token is given back: a submitter that saw it taken has relied on us.
    while (any_idle() && try_spin()) {
      for (unsigned i = 0, words = words_.load(std::memory_order_seq_cst); i < words; ++i)
        for (std::uint64_t w = mask_[i].load(std::memory_order_seq_cst); w != 0; w &= w - 1) {
          const unsigned index = i * 64 + static_cast<unsigned>(std::countr_zero(w));
          if (leave(index)) return index;
        }
      stop_spinning();
    }
    return kNone;
  }

 private:
  static constexpr std::uint64_t bit(unsigned index) noexcept { return std::uint64_t{1} << (index % 64); }
  Atomic<unsigned> words_{1};
  std::array<Atomic<std::uint64_t>, (kMax + 63) / 64> mask_{};
  Atomic<std::uint32_t> spinning_{0};
};

using IdleSet = BasicIdleSet<>;

}  // namespace fiberd::runtime

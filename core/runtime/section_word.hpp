#pragma once
// SectionWord: who has a Processor whose machine is inside a blocking section; one word on the Processor.
//
//   even   no section: the machine that has the Processor works with it
//   odd    the machine is in section number w and has sworn off the Processor: whoever makes the word even has it
//
// So a section costs its machine one store to begin and one CAS to end, on a cache line of its own Processor. Both ends
// of a section are the same step, w → w + 1, and one CAS wins it: the machine's (it goes on as if nothing had been) or
// the taker's, who then has all that the machine wrote before it entered, and gives the Processor to another machine.
// The number is never used twice: a taker that has seen one section for long cannot take another that has just begun,
// and a machine whose Processor has other hands meanwhile cannot mistake a section of theirs for its own.
//
// Atomic is std::atomic; tests/model instantiates the template with its own.
#include <atomic>
#include <cstdint>

namespace fiberd::runtime {

template <template <class> class Atomic = std::atomic>
class BasicSectionWord {
 public:
  /// Owner. Returns the section's number. From here on the Processor may be somebody else's.
  [[nodiscard]] std::uint64_t enter() noexcept {
    const std::uint64_t mine = word_.load(std::memory_order_relaxed) + 1;
    word_.store(mine, std::memory_order_release);
    return mine;
  }
  /// Who entered. False: the Processor was taken.
  [[nodiscard]] bool leave(std::uint64_t mine) noexcept {
    return word_.compare_exchange_strong(mine, mine + 1, std::memory_order_acq_rel, std::memory_order_relaxed);
  }
  /// Anybody: the section that goes on now, 0: none.
  [[nodiscard]] std::uint64_t current() const noexcept {
    const std::uint64_t w = word_.load(std::memory_order_relaxed);
    return (w & 1U) != 0 ? w : 0;
  }
  /// Anybody who has seen `section` go on. True: the Processor is the caller's.
  [[nodiscard]] bool take(std::uint64_t section) noexcept { return leave(section); }

 private:
  Atomic<std::uint64_t> word_{0};
};

using SectionWord = BasicSectionWord<>;

}  // namespace fiberd::runtime

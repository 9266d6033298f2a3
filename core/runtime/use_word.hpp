#pragma once
// UseWord: which use of a PollDescriptor this is, and what is known of the peer in it; one word.
//
//   bits  0–15  generation: the number of the use, as epoll's user data carries it (1 … 0x7fff)
//   bits 16–23  what events have said (kEnded, kReset)
//
// An event is fetched by one thread while another closes the descriptor and opens it anew. Looking at the generation
// first and marking afterwards leaves room for both between the two, and the new connection would be taken for one
// whose peer has gone. So mark and generation change together, by CAS: a mark is made in the use it belongs to or not
// at all. (That a late event makes the new use look readable once is harmless: it reads, and finds nothing.)
#include <atomic>
#include <cstdint>

namespace fiberd::runtime {

template <template <class> class Atomic = std::atomic>
class BasicUseWord {
 public:
  static constexpr std::uint8_t kEnded = 1;
  static constexpr std::uint8_t kReset = 2;
  static constexpr std::uint16_t kLast = 0x7fff;

  [[nodiscard]] std::uint16_t generation() const noexcept {
    return static_cast<std::uint16_t>(word_.load(std::memory_order_seq_cst));
  }
  [[nodiscard]] std::uint8_t marks() const noexcept {
    return static_cast<std::uint8_t>(word_.load(std::memory_order_seq_cst) >> 16U);
  }
  /// False: this is not use `generation` any more, and nothing is marked.
  [[nodiscard]] bool mark(std::uint16_t generation, std::uint8_t marks) noexcept {
    std::uint32_t w = word_.load(std::memory_order_seq_cst);
    while (static_cast<std::uint16_t>(w) == generation) {
      const std::uint32_t wanted = w | (std::uint32_t{marks} << 16U);
      if (word_.compare_exchange_weak(w, wanted, std::memory_order_seq_cst, std::memory_order_seq_cst)) return true;
    }
    return false;
  }
  /// The use is over: the next one begins, with nothing known. By whoever closes.
  void next() noexcept {
    const std::uint16_t g = generation();
    word_.store(g == kLast ? 1U : g + 1U, std::memory_order_seq_cst);
  }
  /// Of an object that has just been made.
  void begin_with(std::uint32_t generation) noexcept { word_.store(generation, std::memory_order_relaxed); }

 private:
  Atomic<std::uint32_t> word_{1};
};

using UseWord = BasicUseWord<>;

}  // namespace fiberd::runtime

#pragma once
// FiberOrigin: who a fiber is: its id, name and spawn site; and the cell in which a fiber keeps it.
//
// A dump looks at fibers that run, end and are born again meanwhile, and must neither wait for them nor make them wait.
// So the cell is a sequence lock over words that are atomic one by one: a writer pays two stores more than for plain
// members, a reader who was overtaken notices it and looks again. What the words point to (names, the compiler's spawn
// sites) lives for ever, so not even a torn reading, which is thrown away, could have been dangling.
//
// Rejected: plain members and a look at the status word before and after (a data race by the language, and TSan is
// right to say so); a pointer to an allocated record (an allocation a spawn).
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "core/base/source_location.hpp"

namespace fiberd::runtime {

/// Who a fiber was: for what is said of it when it is gone.
struct FiberOrigin {
  std::uint64_t id = 0;
  std::string_view name;
  SourceLocation where;
};

/// "fiber 7 \"reader\" spawned at main.cpp:12"; a name's quotes and control characters are escaped. Throws
/// std::bad_alloc.
[[nodiscard]] std::string describe_origin(const FiberOrigin& origin);

class OriginCell {
 public:
  /// By whoever owns the fiber at that moment: one at a time.
  void set(const FiberOrigin& origin) noexcept {
    // Member by member: taken as a whole it goes through memory once more, at each spawn.
    const auto name = std::bit_cast<std::array<std::uint64_t, sizeof(std::string_view) / 8>>(origin.name);
    const auto where = std::bit_cast<std::array<std::uint64_t, sizeof(SourceLocation) / 8>>(origin.where);
    const std::uint32_t version = version_.load(std::memory_order_relaxed);
    version_.store(version + 1, std::memory_order_relaxed);
    // Release and acquire each, instead of two fences (which TSan does not understand): who sees a new word sees the
    // odd version that was written before it. On x86-64 these are plain moves all the same.
    std::size_t i = 0;
    words_[i++].store(origin.id, std::memory_order_release);
    for (const std::uint64_t word : name) words_[i++].store(word, std::memory_order_release);
    for (const std::uint64_t word : where) words_[i++].store(word, std::memory_order_release);
    version_.store(version + 2, std::memory_order_release);
  }
  /// By whoever owns the fiber, or holds it still.
  [[nodiscard]] FiberOrigin get() const noexcept {
    Words words;
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = words_[i].load(std::memory_order_acquire);
    return std::bit_cast<FiberOrigin>(words);
  }
  /// By anybody at any time. False: it was being written again and again, or never was.
  [[nodiscard]] bool read(FiberOrigin& origin) const noexcept {
    static constexpr int kTries = 8;
    for (int i = 0; i < kTries; ++i) {
      const std::uint32_t before = version_.load(std::memory_order_acquire);
      if (before == 0) return false;
      if (before % 2 != 0) continue;
      const FiberOrigin seen = get();
      if (version_.load(std::memory_order_relaxed) != before) continue;
      origin = seen;
      return true;
    }
    return false;
  }

 private:
  static_assert(std::is_trivially_copyable_v<FiberOrigin> && offsetof(FiberOrigin, name) == 8 &&
                offsetof(FiberOrigin, where) == 8 + sizeof(std::string_view) &&
                sizeof(FiberOrigin) == offsetof(FiberOrigin, where) + sizeof(SourceLocation));
  using Words = std::array<std::uint64_t, sizeof(FiberOrigin) / sizeof(std::uint64_t)>;
  std::atomic<std::uint32_t> version_{0};  // odd: it is being written
  std::array<std::atomic<std::uint64_t>, std::tuple_size_v<Words>> words_{};
};

}  // namespace fiberd::runtime

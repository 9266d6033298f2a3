#pragma once
// Who has created the threads of this process, as Go's threadcreate profile: by stacks, counted.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace fiberd::fiber {

struct ThreadCreation {
  static constexpr std::size_t kFrames = 32;
  std::array<std::uintptr_t, kFrames> stack{};  ///< return addresses, innermost first
  std::size_t depth = 0;
  std::uint64_t count = 0;
  [[nodiscard]] std::span<const std::uintptr_t> frames() const noexcept { return {stack.data(), depth}; }
};

/// From now on threads that are created by create_quiet_thread, as all of ours are, are noted: a microsecond each. The
/// runtime calls it when it starts. Idempotent, thread-safe.
void note_thread_creations() noexcept;

/// What was noted: kMostThreadStacks different ones; those beyond stand in the last one, without frames. Any thread.
/// Throws std::bad_alloc.
inline constexpr std::size_t kMostThreadStacks = 256;
[[nodiscard]] std::vector<ThreadCreation> thread_creations();

}  // namespace fiberd::fiber

#pragma once
// How much the sampled profiles look at: Go's runtime.MemProfileRate, SetBlockProfileRate and SetMutexProfileFraction.
// All are off at first (fiberd itself begins with its configuration's); what was sampled stays. Thread-safe; each may
// be called at any time.
#include <chrono>
#include <cstdint>

namespace fiberd::runtime {

/// Mean of bytes allocated between two samples: 1 (each allocation) … 1 TiB; 0: off. Go's is 512 KiB. False: this
/// program's allocations are not seen, for it is not linked with fiberd::heap_profile, or built with a sanitizer.
bool set_mem_profile_rate(std::uint64_t bytes) noexcept;
[[nodiscard]] std::uint64_t mem_profile_rate() noexcept;

/// Samples on average one wait in `rate` of time that fibers wait for each other: for channels, select, locks,
/// conditions, semaphores, groups, tasks and pools; not for the clock, the network and files. Longer waits than `rate`
/// are all sampled. 1 ns: each; 0 and less: off.
void set_block_profile_rate(std::chrono::nanoseconds rate) noexcept;
[[nodiscard]] std::chrono::nanoseconds block_profile_rate() noexcept;

/// Samples one in `fraction` of the unlocks for which another fiber had waited, and says what that one has waited where
/// the lock was given back. 1: each; 0: off.
void set_mutex_profile_fraction(std::uint32_t fraction) noexcept;
[[nodiscard]] std::uint32_t mutex_profile_fraction() noexcept;

}  // namespace fiberd::runtime

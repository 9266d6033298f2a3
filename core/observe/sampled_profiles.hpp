#pragma once
// What is sampled all the time, as profiles: where memory is allocated (core/fiber/heap_sampler.hpp), where fibers wait
// for each other and who lets them wait (core/runtime/block_profile.hpp). Values and their order are Go's.
#include "core/observe/pprof_profile.hpp"

namespace fiberd::observe {

/// alloc_objects, alloc_space, inuse_objects, inuse_space: estimates of all, from what was sampled since the start.
/// What is shown first is what is in use, or with `allocations` what was allocated. Any thread. Throws std::bad_alloc.
[[nodiscard]] PprofProfile heap_profile(bool allocations);
/// contentions and delay (ns); the label `reason` is the WaitReason. Any thread. Throws std::bad_alloc.
[[nodiscard]] PprofProfile block_profile();
[[nodiscard]] PprofProfile mutex_profile();

}  // namespace fiberd::observe

#include "core/observe/sampled_profiles.hpp"

#include <algorithm>
#include <array>

#include "core/base/units.hpp"
#include "core/fiber/heap_sampler.hpp"
#include "core/runtime/block_profile.hpp"
#include "core/runtime/profile_rates.hpp"

namespace fiberd::observe {

using fiber::HeapSampler;
using fiber::StackTable;

static void tell_lost(PprofProfile& profile, std::uint64_t lost, const char* what) {
  if (lost != 0) profile.add_comment(std::to_string(lost) + what);
}

PprofProfile heap_profile(bool allocations) {
  const HeapSampler& sampler = fiber::heap_sampler();
  PprofProfile profile(PprofProfile::ValueTypes{
      {"alloc_objects", "count"}, {"alloc_space", "bytes"}, {"inuse_objects", "count"}, {"inuse_space", "bytes"}});
  profile.set_period("space", "bytes", static_cast<std::int64_t>(sampler.rate()));
  profile.set_default_type(allocations ? "alloc_space" : "inuse_space");
  sampler.stacks().for_each([&](std::span<const std::uintptr_t> frames, std::uint32_t /*tag*/,
                                const std::array<std::uint64_t, StackTable::kSums>& sums) {
    // A sample may have been freed between two of the looks.
    const auto in_use = [&sums](std::size_t allocated, std::size_t freed) {
      return sums[allocated] - std::min(sums[freed], sums[allocated]);
    };
    const auto objects = [](std::uint64_t parts) {
      return static_cast<std::int64_t>((parts + HeapSampler::kObject / 2) / HeapSampler::kObject);
    };
    const std::array<std::int64_t, 4> values{
        objects(sums[HeapSampler::allocated_objects]), static_cast<std::int64_t>(sums[HeapSampler::allocated_bytes]),
        objects(in_use(HeapSampler::allocated_objects, HeapSampler::freed_objects)),
        static_cast<std::int64_t>(in_use(HeapSampler::allocated_bytes, HeapSampler::freed_bytes))};
    profile.add(frames, values, {});
  });
  const HeapSampler::Stats stats = sampler.stats();
  if (!fiber::heap_is_sampled())
    profile.add_comment("this program's allocations are not seen: it is not linked with fiberd::heap_profile");
  else if (sampler.rate() == 0)
    profile.add_comment("off: no allocation is sampled now");
  else
    profile.add_comment("a sample each " + format_bytes(sampler.rate()) + " on average; " +
                        std::to_string(stats.samples) + " samples, of which " + std::to_string(stats.live) +
                        " are in use");
  tell_lost(profile, stats.lost, " samples were left out: there were too many in use");
  tell_lost(profile, stats.lost_stack, " samples stand at fiber::stack_table_is_full: there were too many stacks");
  return profile;
}

static PprofProfile waits(const StackTable& stacks, const std::string& rate) {
  PprofProfile profile(PprofProfile::ValueTypes{{"contentions", "count"}, {"delay", "nanoseconds"}});
  profile.set_period("contentions", "count", 1);
  stacks.for_each([&](std::span<const std::uintptr_t> frames, std::uint32_t tag,
                      const std::array<std::uint64_t, StackTable::kSums>& sums) {
    const std::array<std::int64_t, 2> values{
        static_cast<std::int64_t>((sums[runtime::kContentions] + runtime::kContention / 2) / runtime::kContention),
        static_cast<std::int64_t>(sums[runtime::kDelay])};
    const std::array<std::pair<std::string_view, std::string_view>, 1> label{
        {{"reason", runtime::to_string(static_cast<runtime::WaitReason>(tag))}}};
    profile.add(frames, values, label);
  });
  profile.add_comment(rate);
  tell_lost(profile, stacks.lost(), " samples stand at fiber::stack_table_is_full: there were too many stacks");
  return profile;
}

PprofProfile block_profile() {
  const std::int64_t rate = runtime::block_profile_rate().count();
  return waits(runtime::block_stacks(), rate == 0 ? "off: no wait is sampled now; POST /debug/pprof/rates?block=100us"
                                                  : "a sample each " + std::to_string(rate) +
                                                        " ns of waits on average, and all that last longer");
}

PprofProfile mutex_profile() {
  const std::uint32_t fraction = runtime::mutex_profile_fraction();
  return waits(runtime::mutex_stacks(),
               fraction == 0 ? "off: no unlock is sampled now; POST /debug/pprof/rates?mutex=10"
                             : "a sample each " + std::to_string(fraction) + " contended unlocks on average");
}

}  // namespace fiberd::observe

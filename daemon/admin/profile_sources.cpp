#include <utility>

#include "core/fiber/thread_creations.hpp"
#include "core/observe/fiber_dump.hpp"
#include "core/observe/pprof_profile.hpp"
#include "daemon/admin/profile_pages.hpp"
#include "daemon/admin/sampled_pages.hpp"

namespace fiberd::daemon {

namespace {

using observe::PprofProfile;

Result<PprofProfile> thread_creations() {
  PprofProfile profile(PprofProfile::ValueTypes{{"threadcreate", "count"}});
  for (const fiber::ThreadCreation& creation : fiber::thread_creations()) {
    const auto count = static_cast<std::int64_t>(creation.count);
    profile.add(creation.frames(), {&count, 1}, {});
  }
  return profile;
}

}  // namespace

std::vector<ProfileSource> profile_sources() {
  std::vector<ProfileSource> all;
  all.push_back({.name = "goroutine",
                 .help = "all fibers; ?debug=1 grouped, ?debug=2 each; &name= &site= &state= &min_age= choose",
                 .take = [] { return Result<PprofProfile>(observe::collect_fibers({})); },
                 .own_page = true});
  all.push_back({.name = "threadcreate",
                 .help = "who created OS threads, since the start",
                 .take = &thread_creations,
                 .grows = true});
  add_sampled_profiles(all);
  return all;
}

}  // namespace fiberd::daemon

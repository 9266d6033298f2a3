#include "daemon/cpu_follower.hpp"

#include <cstdlib>
#include <utility>

#include "core/base/log.hpp"

namespace fiberd::daemon {

CpuFollower::CpuFollower(runtime::Runtime& runtime, const runtime::CpuLimits& present, unsigned configured,
                         runtime::CpuSources sources)
    : runtime_(runtime), sources_(std::move(sources)), configured_(configured), asked_(present.gomaxprocs) {}

runtime::CpuLimits CpuFollower::detect(unsigned configured) const {
  runtime::CpuSources sources = sources_;
  sources.environment = std::getenv("GOMAXPROCS");
  sources.configured = configured;
  sources.cgroup.quiet = true;  // what is wrong with a file was said at the start
  return runtime::detect_gomaxprocs(sources);
}

void CpuFollower::configure(unsigned configured) {
  configured_.store(configured);
  const runtime::CpuLimits cpus = detect(configured);
  if (!cpus.error.empty() || cpus.unsure) return;  // refused before it came here; or look() finds it
  asked_.store(cpus.gomaxprocs);
  runtime_.set_gomaxprocs(cpus.gomaxprocs);
}

void CpuFollower::look() {
  for (;;) {
    const unsigned configured = configured_.load();
    const runtime::CpuLimits cpus = detect(configured);
    const unsigned before = asked_.load();
    // Clients have all descriptors: that is no reason to think that a quota is gone.
    if (!cpus.error.empty() || cpus.unsure || cpus.gomaxprocs == before) return;
    asked_.store(cpus.gomaxprocs);
    runtime_.set_gomaxprocs(cpus.gomaxprocs);
    // A reload may have said another number meanwhile: it is looked at again then.
    if (configured_.load() != configured) continue;
    changes_.fetch_add(1, std::memory_order_relaxed);
    log(LogLevel::info, "GOMAXPROCS is " + std::to_string(cpus.gomaxprocs) + " now, " + std::to_string(before) +
                            " before (" + cpus.source + ")" + (cpus.warning.empty() ? "" : "; " + cpus.warning));
    return;
  }
}

}  // namespace fiberd::daemon

#include "core/runtime/gomaxprocs.hpp"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <thread>

#include "core/base/debug_setting.hpp"

namespace fiberd::runtime {

/// A positive integer, or 0; what does not fit is UINT64_MAX.
static std::uint64_t positive(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size()) return 0;
  return error == std::errc::result_out_of_range ? UINT64_MAX : error == std::errc{} ? value : 0;
}

unsigned affinity_cpus(int (*get)(pid_t, std::size_t, cpu_set_t*) noexcept) noexcept {
  if (get == nullptr) get = &sched_getaffinity;
  // The kernel refuses a mask shorter than its own; 1,024 CPUs are usual, 64 Ki are the most it can be built for.
  for (std::size_t cpus = 1024; cpus <= 65536; cpus *= 2) {
    cpu_set_t* const set = CPU_ALLOC(cpus);
    if (set == nullptr) break;
    const std::size_t size = CPU_ALLOC_SIZE(cpus);
    const int result = get(0, size, set);
    const int count = result == 0 ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (count > 0) return static_cast<unsigned>(count);
  }
  return std::max(1U, std::thread::hardware_concurrency());
}

/// FIBERDEBUG=cpus=N, among other settings: as if the affinity mask held so many.
static unsigned pretended_cpus() noexcept {
  if (const auto cpus = debug_setting("cpus"))
    return static_cast<unsigned>(std::min<std::uint64_t>(positive(*cpus), 65536));
  return 0;
}

static std::uint64_t descriptor_limit() noexcept {
  rlimit limit{};
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : UINT64_MAX;
}

static std::string out_of_range(const std::string& what) {
  return what + " is out of range: 1 … " + std::to_string(kMostProcessors);
}

/// Brings down what was found to what can be had.
static void bring_down(CpuLimits& limits, std::uint64_t descriptors) {
  const std::string found = std::to_string(limits.gomaxprocs) + " CPUs may be used (" + limits.source + "), but ";
  if (limits.gomaxprocs > kMostProcessors) {
    limits.gomaxprocs = kMostProcessors;
    limits.warning = found + "there are never more Processors than " + std::to_string(kMostProcessors);
  }
  // A Poller has an epoll instance and an eventfd.
  if (const std::uint64_t room = std::max<std::uint64_t>(descriptors / 4, 1); limits.gomaxprocs > room) {
    limits.gomaxprocs = static_cast<unsigned>(room);
    limits.warning = found + "of " + std::to_string(descriptors) +
                     " open files (RLIMIT_NOFILE) a half shall be left to connections: GOMAXPROCS is " +
                     std::to_string(room);
  }
}

CpuLimits detect_gomaxprocs(const CpuSources& sources) {
  CpuLimits limits;
  if (sources.environment != nullptr && *sources.environment != '\0') {
    const std::uint64_t value = positive(sources.environment);
    const std::string setting = "GOMAXPROCS=\"" + std::string(sources.environment) + "\" in the environment";
    if (value > kMostProcessors) limits.error = out_of_range(setting);
    if (value != 0) {
      limits.gomaxprocs = static_cast<unsigned>(std::min<std::uint64_t>(value, kMostProcessors));
      limits.source = "environment";
      return limits;
    }
    limits.warning = setting + " is not a positive integer; it is passed over";
  }
  if (sources.configured != 0) {
    limits.gomaxprocs = sources.configured;
    limits.source = "configuration";
    if (limits.gomaxprocs > kMostProcessors)
      limits.error = out_of_range("gomaxprocs " + std::to_string(sources.configured) + " of the configuration");
    return limits;
  }
  limits.gomaxprocs = sources.affinity;
  if (limits.gomaxprocs == 0) limits.gomaxprocs = pretended_cpus();
  if (limits.gomaxprocs == 0) limits.gomaxprocs = affinity_cpus();
  limits.source = "affinity";
  if (const auto quota = cgroup_cpu_quota(sources.cgroup, limits.unsure)) {
    const double whole = std::max(1.0, std::ceil(*quota));
    if (whole < limits.gomaxprocs) {
      limits.gomaxprocs = static_cast<unsigned>(whole);
      char text[48];
      std::snprintf(text, sizeof text, "cgroup quota %.2f", *quota);
      limits.source = text;
    } else if (whole == limits.gomaxprocs && *quota < whole) {
      char text[64];
      std::snprintf(text, sizeof text, "affinity; cgroup quota %.2f, rounded up, is as many", *quota);
      limits.source = text;
    }
  }
  const std::string before = limits.warning;
  bring_down(limits, sources.descriptors != 0 ? sources.descriptors : descriptor_limit());
  if (!before.empty() && limits.warning != before) limits.warning = before + "; " + limits.warning;
  return limits;
}

CpuLimits detect_gomaxprocs(unsigned configured) {
  CpuSources sources;
  sources.environment = std::getenv("GOMAXPROCS");
  sources.configured = configured;
  sources.cgroup = this_cgroup_paths();
  return detect_gomaxprocs(sources);
}

}  // namespace fiberd::runtime

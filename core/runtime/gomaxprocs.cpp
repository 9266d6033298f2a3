#include "core/runtime/gomaxprocs.hpp"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <thread>

#include "core/base/log.hpp"

namespace fiberd::runtime {

static std::optional<unsigned> positive(std::string_view text) noexcept {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value == 0) return std::nullopt;
  return value;
}

unsigned affinity_cpus() noexcept {
  // The kernel refuses a mask shorter than its own; 1,024 CPUs are usual, 64 Ki are the most it can be built for.
  for (std::size_t cpus = 1024; cpus <= 65536; cpus *= 2) {
    cpu_set_t* const set = CPU_ALLOC(cpus);
    if (set == nullptr) break;
    const std::size_t size = CPU_ALLOC_SIZE(cpus);
    const int result = sched_getaffinity(0, size, set);
    const int count = result == 0 ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (count > 0) return static_cast<unsigned>(count);
  }
  return std::max(1U, std::thread::hardware_concurrency());
}

CpuLimits detect_gomaxprocs(const CpuSources& sources) {
  CpuLimits limits;
  if (sources.environment != nullptr && *sources.environment != '\0') {
    if (const auto value = positive(sources.environment)) {
      limits.gomaxprocs = *value;
      limits.source = "environment";
      return limits;
    }
    limits.warning = "GOMAXPROCS=\"" + std::string(sources.environment) +
                     "\" in the environment is not a positive integer; it is passed over";
  }
  if (sources.configured != 0) {
    limits.gomaxprocs = sources.configured;
    limits.source = "configuration";
    return limits;
  }
  limits.gomaxprocs = sources.affinity != 0 ? sources.affinity : affinity_cpus();
  limits.source = "affinity";
  if (const auto quota = cgroup_cpu_quota(sources.cgroup)) {
    const double whole = std::max(1.0, std::ceil(*quota));
    if (whole < limits.gomaxprocs) {
      limits.gomaxprocs = static_cast<unsigned>(whole);
      char text[48];
      std::snprintf(text, sizeof text, "cgroup quota %.2f", *quota);
      limits.source = text;
    }
  }
  return limits;
}

CpuLimits detect_gomaxprocs(unsigned configured) {
  CpuLimits limits = detect_gomaxprocs(CpuSources{std::getenv("GOMAXPROCS"), configured, {}, 0});  // NOLINT: read only
  if (!limits.warning.empty()) log(LogLevel::error, limits.warning);
  return limits;
}

unsigned default_gomaxprocs() { return detect_gomaxprocs().gomaxprocs; }

}  // namespace fiberd::runtime

#include "daemon/trimmer.hpp"

#include <malloc.h>

#include <algorithm>
#include <cstdint>

#include "core/base/defer.hpp"
#include "core/base/units.hpp"
#include "core/observe/catalogue.hpp"
#include "core/runtime/scheduler.hpp"
#include "daemon/memory_guard.hpp"

namespace fiberd::daemon {

namespace {

std::uint64_t resident_stacks(const runtime::MemStats& stats) noexcept {
  std::uint64_t bytes = 0;
  for (const runtime::StackClassStats& c : stats.stack_classes) bytes += c.bytes_resident;
  return bytes;
}

std::string in_kib(std::uint64_t bytes) { return std::to_string(bytes / 1024) + " KiB"; }

std::string line(const char* what, std::uint64_t before, std::uint64_t after) {
  return std::string(what) + in_kib(before) + " -> " + in_kib(after) + "\n";
}

}  // namespace

Trimmer::Trimmer(runtime::Runtime& runtime, Room& room, metric::Registry& registry)
    : runtime_(runtime),
      room_(room),
      trims_(registry.counter(observe::register_metric(registry, "fiberd_memory_trims_total"))),
      given_back_(registry.counter(observe::register_metric(registry, "fiberd_memory_given_back_bytes_total"))) {}

Result<std::string> Trimmer::trim() {
  // A pool's first trim finds out what was not needed since the last one, the next gives that back; 256 stacks a call.
  static constexpr unsigned kMostCalls = 100'000;
  if (busy_.exchange(true, std::memory_order_acquire)) return fail(std::errc::device_or_resource_busy);
  const defer over([this] { busy_.store(false, std::memory_order_release); });
  const std::uint64_t resident = resident_bytes();
  const std::uint64_t stacks = resident_stacks(runtime_.read_mem_stats(true));
  const std::uint64_t kept = ::mallinfo2().fordblks;
  std::size_t files = 0;
  std::uint64_t memory = 0;
  if (const auto cache = room_.files(); cache != nullptr) {
    files = cache->files();
    memory = cache->memory();
    cache->clear();
  }
  for (int twice = 0; twice < 2; ++twice)
    for (unsigned calls = 0; calls < kMostCalls && runtime_.scheduler().trim_stacks();) ++calls;
  (void)::malloc_trim(0);
  const std::uint64_t left = resident_bytes();
  trims_.add();
  given_back_.add(resident - std::min(resident, left));
  return "files     " + std::to_string(files) + " let go, with " + in_kib(memory) + " in memory\n" +
         line("stacks    ", stacks, resident_stacks(runtime_.read_mem_stats(true))) +
         line("malloc    ", kept, ::mallinfo2().fordblks) + line("resident  ", resident, left);
}

}  // namespace fiberd::daemon

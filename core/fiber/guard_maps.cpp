#include "core/fiber/guard_maps.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <string_view>

#include "core/base/debug_setting.hpp"
#include "core/base/log.hpp"

namespace fiberd::fiber {

namespace {

constexpr std::uint64_t kDefaultMaxMapCount = 65530;
constexpr std::size_t kBallastMaps = 256;
constexpr std::uint64_t kMapsPerStack = 2;

/// The maps that this process has, in lines of /proc/self/maps; 0 where they cannot be read.
std::uint64_t count_maps() noexcept {
  std::FILE* file = std::fopen("/proc/self/maps", "re");
  if (file == nullptr) return 0;
  std::uint64_t lines = 0;
  std::array<char, 16384> buffer;
  for (std::size_t n = 0; (n = std::fread(buffer.data(), 1, buffer.size(), file)) != 0;)
    lines += static_cast<std::uint64_t>(std::count(buffer.data(), buffer.data() + n, '\n'));
  std::fclose(file);
  return lines;
}

std::size_t page_size() noexcept { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

/// From the kernel's limit (its default where the file cannot be read). Only the kernel's own limit is compared with
/// the maps in use: one that stands in for it in tests knows nothing of them.
GuardMaps::GuardMaps(const char* path, std::uint64_t maps_left) noexcept {
  std::uint64_t maps = 0;
  if (const auto asked = debug_setting("max_map_count"))
    (void)std::from_chars(asked->data(), asked->data() + asked->size(), maps);
  std::uint64_t in_use = 0;
  if (maps == 0) {
    unsigned long long read = kDefaultMaxMapCount;
    if (std::FILE* file = std::fopen(path, "re"); file != nullptr) {
      if (std::fscanf(file, "%llu", &read) != 1) read = kDefaultMaxMapCount;
      std::fclose(file);
    }
    maps = read;
    if (std::string_view(path) == kMaxMapCount) in_use = count_maps();
  }
  std::uint64_t left = std::min(kMapsLeft, maps / 8);
  if (maps_left > kMapsLeft) left += maps_left - kMapsLeft;
  left = std::min(left, maps / 2);
  left_ = std::min(std::max(left, in_use + left / 2), maps);
  limit_.store((maps - left_) / kMapsPerStack, std::memory_order_relaxed);
  hold_ballast();
}

GuardMaps::~GuardMaps() { drop_ballast(); }

void GuardMaps::ran_out() noexcept {
  limit_.store(used_.fetch_sub(1, std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  drop_ballast();
  log(LogLevel::warning,
      "stacks: this process has as many maps as the kernel allows (vm.max_map_count): no more "
      "stacks are guarded by mprotect");
}

/// Neighbouring pages of different protection are maps of their own.
void GuardMaps::hold_ballast() noexcept {
  const std::size_t page = page_size();
  void* const p =
      mmap(nullptr, kBallastMaps * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return;
  auto* const ballast = static_cast<std::byte*>(p);
  for (std::size_t i = 1; i < kBallastMaps; i += 2)
    if (mprotect(ballast + i * page, page, PROT_NONE) != 0) break;
  ballast_.store(ballast, std::memory_order_relaxed);
}

void GuardMaps::drop_ballast() noexcept {
  if (std::byte* const ballast = ballast_.exchange(nullptr, std::memory_order_relaxed))
    munmap(ballast, kBallastMaps * page_size());
}

}  // namespace fiberd::fiber

#include "core/net/descriptor_reserve.hpp"

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "core/base/log.hpp"

namespace fiberd::net {

static constexpr std::int64_t kFirstPause = 5'000'000;
static constexpr std::int64_t kLongestPause = 1'000'000'000;
static constexpr rlim_t kSpare = 256;  // descriptors for files and upstreams; a sixteenth of a small limit

static int open_reserve() noexcept { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }

DescriptorReserve::DescriptorReserve() noexcept : reserve_(open_reserve()) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0)
    few_left_ = static_cast<int>(std::min<rlim_t>(limit.rlim_cur - std::min(limit.rlim_cur / 16, kSpare), INT32_MAX));
}

DescriptorReserve::~DescriptorReserve() {
  if (reserve_ >= 0) sys::close(reserve_);
}

void DescriptorReserve::over() noexcept {
  pause_ns_.store(0, std::memory_order_release);
  if (reserve_ < 0) reserve_ = open_reserve();
}

Deadline DescriptorReserve::refuse_next(int listening, int error, std::string_view listener, bool& refused) noexcept {
  const std::int64_t now = monotonic_now();
  std::int64_t pause = 0;
  refused = false;
  {
    const LockGuard guard(lock_);
    const std::int64_t before = pause_ns_.load(std::memory_order_relaxed);
    pause = before == 0 ? kFirstPause : std::min(before * 2, kLongestPause);
    pause_ns_.store(pause, std::memory_order_release);
    if ((error == EMFILE || error == ENFILE) && reserve_ >= 0) {
      sys::close(std::exchange(reserve_, -1));
      if (const int fd = sys::accept4(listening, nullptr, nullptr); fd >= 0) {
        sys::close(fd);
        refused = true;
      }
    }
    // Somebody else in the process may have been faster; then it is tried again each time.
    if (reserve_ < 0) reserve_ = open_reserve();
  }
  tell(now, pause, error, listener);
  return Deadline::at(now + pause);
}

void DescriptorReserve::tell(std::int64_t now, std::int64_t pause, int error, std::string_view listener) noexcept {
  const std::optional<std::uint64_t> left_out = log_limit_.pass(now);
  if (!left_out) return;
  char line[256];
  const int n = std::snprintf(
      line, sizeof line,
      "listener %.*s: accept failed %llu times: %s; raise the descriptor limit (LimitNOFILE) or "
      "lower limits.connections; pausing up to %lld ms",
      static_cast<int>(listener.size()), listener.data(), static_cast<unsigned long long>(*left_out) + 1,
      std::error_code(error, std::system_category()).message().c_str(), static_cast<long long>(pause / 1'000'000));
  log(LogLevel::warning, {line, static_cast<std::size_t>(std::clamp(n, 0, static_cast<int>(sizeof line) - 1))});
}

}  // namespace fiberd::net

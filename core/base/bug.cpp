#include "core/base/bug.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "core/base/log.hpp"

namespace fiberd {

static std::atomic<std::uint64_t> bugs{0};

void report_bug(const char* what, SourceLocation where) noexcept {
  bugs.fetch_add(1, std::memory_order_relaxed);
  char line[512];
  const int n = std::snprintf(line, sizeof line, "BUG: %s at %s:%u in %s", what, where.file_name(),
                              static_cast<unsigned>(where.line()), where.function_name());
  const auto length = n < 0 ? 0U : static_cast<unsigned>(n);
  log(LogLevel::error, {line, length < sizeof line ? length : sizeof line - 1});
#ifndef NDEBUG
  std::abort();
#endif
}

std::uint64_t bug_count() noexcept { return bugs.load(std::memory_order_relaxed); }

}  // namespace fiberd

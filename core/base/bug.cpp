#include "core/base/bug.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "core/base/log.hpp"
#include "core/base/log_flush.hpp"

namespace fiberd {

static std::atomic<std::uint64_t> bugs{0};
static std::atomic<BugDetails> bug_details{nullptr};

void set_bug_details(BugDetails details) noexcept { bug_details.store(details, std::memory_order_release); }

void report_bug(const char* what, SourceLocation where) noexcept {
  bugs.fetch_add(1, std::memory_order_relaxed);
  char line[512];
  const int n = std::snprintf(line, sizeof line, "BUG: %s at %s:%u in %s", what, where.file_name(),
                              static_cast<unsigned>(where.line()), where.function_name());
  const auto length = n < 0 ? 0U : static_cast<unsigned>(n);
  const std::string_view message{line, length < sizeof line ? length : sizeof line - 1};
  const BugDetails more = bug_details.load(std::memory_order_acquire);
  try {
    log(LogLevel::error, more != nullptr ? std::string(message) + more() : std::string(message), where);
  } catch (...) {
    log(LogLevel::error, message, where);  // without memory the rest must be missed
  }
#ifndef NDEBUG
  flush_log();
  std::abort();
#endif
}

std::uint64_t bug_count() noexcept { return bugs.load(std::memory_order_relaxed); }

}  // namespace fiberd

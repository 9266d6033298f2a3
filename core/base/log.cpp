#include "core/base/log.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>

namespace fiberd {

static void stderr_sink(LogLevel level, std::string_view message) noexcept {
  static constexpr std::array<std::string_view, 4> kNames{"debug: ", "info: ", "warning: ", "error: "};
  const std::string_view name = kNames[static_cast<unsigned>(level)];
  const std::array<iovec, 3> parts{{{const_cast<char*>(name.data()), name.size()},
                                    {const_cast<char*>(message.data()), message.size()},
                                    {const_cast<char*>("\n"), 1}}};
  // A log that cannot be written has nowhere else to go.
  [[maybe_unused]] const ssize_t written = writev(STDERR_FILENO, parts.data(), static_cast<int>(parts.size()));
}

static std::atomic<LogSink> sink{&stderr_sink};

void set_log_sink(LogSink new_sink) noexcept {
  sink.store(new_sink != nullptr ? new_sink : &stderr_sink, std::memory_order_release);
}

void log(LogLevel level, std::string_view message) noexcept { sink.load(std::memory_order_acquire)(level, message); }

}  // namespace fiberd

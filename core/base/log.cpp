#include "core/base/log.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "core/base/guarded_write.hpp"
#include "core/base/log_flush.hpp"
#include "core/base/log_place.hpp"

namespace fiberd {

// Whoever reads standard error may be stuck: a line waits for room once, the next ones do not until there is some.
static constexpr int kPatience = 1000;  // ms

static void stderr_sink(LogLevel level, std::string_view message) noexcept {
  static constexpr std::array<std::string_view, 4> kNames{"debug: ", "info: ", "warning: ", "error: "};
  static std::atomic<bool> stuck{false};
  const std::string_view name = kNames[static_cast<unsigned>(level)];
  std::array<char, 1024> line;
  const int patience = stuck.load(std::memory_order_relaxed) ? 0 : kPatience;
  bool whole = true;
  if (const std::size_t size = name.size() + message.size() + 1; size <= line.size()) {  // in one write
    char* const text = std::copy(name.begin(), name.end(), line.data());
    *std::copy(message.begin(), message.end(), text) = '\n';
    whole = write_guarded(STDERR_FILENO, {line.data(), size}, patience) == size;
  } else {
    for (const std::string_view part : {name, message, std::string_view("\n")})
      whole = whole && write_guarded(STDERR_FILENO, part, patience) == part.size();
  }
  // A log that cannot be written has nowhere else to go.
  stuck.store(!whole, std::memory_order_relaxed);
}

static std::atomic<LogSink> sink{&stderr_sink};
static std::atomic<PlacedLogSink> placed_sink{nullptr};
static std::atomic<LogFlush> flush{nullptr};
struct Least {
  std::atomic<LogLevel> level{LogLevel::info};
};
static std::array<Least, kLogModules.size()> least{};

void set_log_sink(LogSink new_sink) noexcept {
  sink.store(new_sink != nullptr ? new_sink : &stderr_sink, std::memory_order_release);
  placed_sink.store(nullptr, std::memory_order_release);
}

void set_placed_log_sink(PlacedLogSink new_sink) noexcept { placed_sink.store(new_sink, std::memory_order_release); }

void set_log_level(LogModule module, LogLevel new_least) noexcept {
  least[static_cast<std::size_t>(module)].level.store(new_least, std::memory_order_relaxed);
}

LogLevel log_level(LogModule module) noexcept {
  return least[static_cast<std::size_t>(module)].level.load(std::memory_order_relaxed);
}

LogModule log_module_of(std::string_view file) noexcept {
  static constexpr std::string_view kRoot = "fiberd/";
  static constexpr std::string_view kCore = "core/";
  // Ours are built with paths from the tree's root; what others include of us is found below their include directory.
  if (!file.starts_with(kCore)) {
    if (file.starts_with("daemon/") || file.starts_with("config/")) return LogModule::daemon;
    const std::size_t root = file.rfind("/fiberd/core/");
    if (root == std::string_view::npos) return LogModule::program;
    file.remove_prefix(root + 1 + kRoot.size());
  }
  file.remove_prefix(kCore.size());
  const std::string_view room = file.substr(0, file.find('/'));
  const auto* const found = std::find(kLogModules.begin(), kLogModules.end(), room);
  return found != kLogModules.end() ? static_cast<LogModule>(found - kLogModules.begin()) : LogModule::program;
}

void log(LogLevel level, std::string_view message, SourceLocation place) noexcept {
  if (level != LogLevel::error && !logs(log_module_of(place.file_name()), level)) return;  // there is no higher one
  if (const PlacedLogSink placed = placed_sink.load(std::memory_order_acquire)) return placed(level, message, place);
  sink.load(std::memory_order_acquire)(level, message);
}

void set_log_flush(LogFlush new_flush) noexcept { flush.store(new_flush, std::memory_order_release); }

void flush_log() noexcept {
  if (const LogFlush now = flush.load(std::memory_order_acquire)) now();
}

}  // namespace fiberd

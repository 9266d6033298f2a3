#include "core/runtime/fiber_text.hpp"

#include <cstdio>

#include "core/base/printable.hpp"
#include "core/fiber/backtrace.hpp"

namespace fiberd::runtime {

const std::string& Symbols::operator()(std::uintptr_t address) {
  static constexpr std::size_t kMost = 16'384;
  if (names_.size() >= kMost) names_.clear();
  std::string& name = names_[address];
  if (name.empty()) name = name_of_ ? name_of_(address) : fiber::symbolize(address);
  return name;
}

std::string hex_text(std::uintptr_t value) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%zx", static_cast<std::size_t>(value));
  return text;
}

std::string age_text(std::int64_t ns) {
  char text[32];
  if (ns < 0) ns = 0;
  if (ns < 1'000'000'000)
    std::snprintf(text, sizeof text, "%lld ms", static_cast<long long>(ns / 1'000'000));
  else if (ns < 60'000'000'000)
    std::snprintf(text, sizeof text, "%.1f s", static_cast<double>(ns) / 1e9);
  else if (ns < 7'200'000'000'000)
    std::snprintf(text, sizeof text, "%lld min", static_cast<long long>(ns / 60'000'000'000));
  else
    std::snprintf(text, sizeof text, "%lld h", static_cast<long long>(ns / 3'600'000'000'000));
  return text;
}

std::string site_of(const FiberView& f) {
  return std::string(f.origin.where.file_name()) + ":" + std::to_string(f.origin.where.line());
}

std::string_view state_of(const FiberView& f) noexcept {
  return f.state == FiberView::State::waiting ? to_string(f.reason) : to_string(f.state);
}

std::string describe(const FiberView& f, std::int64_t now, Symbols& symbols) {
  std::string text =
      "fiber " + std::to_string(f.origin.id) + " " + quoted(f.origin.name, kMostName) + " [" + std::string(state_of(f));
  if (f.state == FiberView::State::waiting && f.parked_at != 0) text += ", " + age_text(now - f.parked_at);
  if (!f.until.is_never()) text += ", ends by itself in " + age_text(f.until.ns() - now);
  if (f.pinned) text += ", pinned";
  if (f.has_thread) text += ", with a thread of its own";
  if (f.thread != 0) text += ", on thread " + std::to_string(f.thread);
  text += "]:\n";
  if (f.waits_for != nullptr) {
    text += "  waits for " + hex_text(reinterpret_cast<std::uintptr_t>(f.waits_for));
    if (!f.waits_for_text.empty()) text += ", " + in_one_line(f.waits_for_text);
    text += "\n";
  }
  if (f.stack_in_use != 0)
    text += "  stack: " + std::to_string(f.stack_in_use) +
            (f.stack_size != 0 ? " of " + std::to_string(f.stack_size) : std::string()) + " bytes" +
            (f.stack_base != nullptr ? ", high-water " + std::to_string(stack_high_water(f)) : std::string()) + "\n";
  for (const std::uintptr_t frame : f.frames()) text += "    " + symbols(frame) + "\n";
  return text + "  spawned at " + site_of(f) + "\n\n";
}

}  // namespace fiberd::runtime

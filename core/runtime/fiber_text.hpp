#pragma once
// One fiber as text for people: what dumps, logs and runtime::stacks() show of it.
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <utility>

#include "core/runtime/fiber_list.hpp"

namespace fiberd::runtime {

/// Bytes of a fiber's name that are shown.
inline constexpr std::size_t kMostName = 128;

/// Names of code addresses. A program has few places where fibers wait, so each is looked up once. One thread.
class Symbols {
 public:
  /// `name_of`: what to say of a return address; by default what the dynamic linker knows, fiber::symbolize().
  explicit Symbols(std::function<std::string(std::uintptr_t)> name_of = nullptr) : name_of_(std::move(name_of)) {}
  /// Blocks while a name is looked up. Throws std::bad_alloc.
  [[nodiscard]] const std::string& operator()(std::uintptr_t address);

 private:
  std::function<std::string(std::uintptr_t)> name_of_;
  std::unordered_map<std::uintptr_t, std::string> names_;
};

/// As people say it: 12 ms, 3.2 s, 12 min, 5 h.
[[nodiscard]] std::string age_text(std::int64_t ns);
[[nodiscard]] std::string hex_text(std::uintptr_t value);
/// "main.cpp:12".
[[nodiscard]] std::string site_of(const FiberView& fiber);
/// What it waits for, or that it is runnable or running.
[[nodiscard]] std::string_view state_of(const FiberView& fiber) noexcept;

/// The fiber, its state and age, what it waits for, its stack, a line a frame, and where it was spawned; an empty line
/// behind. `now`: monotonic ns. Throws std::bad_alloc.
[[nodiscard]] std::string describe(const FiberView& fiber, std::int64_t now, Symbols& symbols);

}  // namespace fiberd::runtime

#include "core/observe/symbol_names.hpp"

#include <cstdio>
#include <memory>

#include "core/fiber/backtrace.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::observe {

const std::string& SymbolNames::function_at(std::uintptr_t address) {
  const auto [at, fresh] = names_.try_emplace(address);
  if (!fresh) return at->second;
  if (const LoadedModule* const module = module_at(modules_, address); module != nullptr && !module->file.empty()) {
    const auto [file, unread] = files_.try_emplace(module->file);
    if (unread) file->second = ElfSymbols(module->file, module->build_id, module->program ? kProgramImage : "");
    if (const char* const name = file->second.find(address - module->bias)) {
      const std::string linked(name);
      at->second = fiber::demangle(linked.substr(0, linked.find('@')).c_str());  // without its version: read@@GLIBC_2.2
    }
  }
  if (at->second.empty()) at->second = fiber::function_at(address);
  return at->second;
}

std::string SymbolNames::frame(std::uintptr_t return_address) {
  const std::uintptr_t address = return_address - 1;
  const std::string& name = function_at(address);
  if (!name.empty()) return name;
  const LoadedModule* const module = module_at(modules_, address);
  char text[32];
  std::snprintf(text, sizeof text, "+0x%zx",
                static_cast<std::size_t>(module != nullptr ? address - module->bias : address));
  return (module != nullptr ? module->file.substr(module->file.find_last_of('/') + 1) : std::string()) + text;
}

/// Whether the stack here has room for reading a file's tables: 64 KiB of a debug file at a time, a path, demangling.
static bool has_room_to_read() noexcept {
  static constexpr std::size_t kRoom = std::size_t{128} * 1024;
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  const fiber::StackBounds bounds = fiber::current_stack_bounds();
  return here > bounds.bottom && here - bounds.bottom >= kRoom;
}

runtime::Symbols fiber_symbols() {
  return runtime::Symbols([names = std::shared_ptr<SymbolNames>()](std::uintptr_t return_address) mutable {
    std::string text = fiber::symbolize(return_address);
    if (!text.starts_with('+') || !has_room_to_read()) return text;
    const std::string name = runtime::blocking_section([&] {
      if (names == nullptr) names = std::make_shared<SymbolNames>();
      return names->function_at(return_address - 1);
    });
    if (name.empty()) return text;
    const std::size_t module = text.find(" (");
    return module == std::string::npos ? name : name + text.substr(module);
  });
}

}  // namespace fiberd::observe

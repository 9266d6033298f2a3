#include "core/observe/symbol_names.hpp"

#include <cstdio>

#include "core/fiber/backtrace.hpp"

namespace fiberd::observe {

const std::string& SymbolNames::function_at(std::uintptr_t address) {
  const auto [at, fresh] = names_.try_emplace(address);
  if (!fresh) return at->second;
  if (const LoadedModule* const module = module_at(modules_, address); module != nullptr && !module->file.empty()) {
    const auto [file, unread] = files_.try_emplace(module->file);
    if (unread) {
      file->second = ElfSymbols(module->file, module->build_id);
      // An update has put another in its place. This leads to what runs.
      if (file->second.size() == 0 && module->program) file->second = ElfSymbols("/proc/self/exe", module->build_id);
    }
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

}  // namespace fiberd::observe

#pragma once
// SymbolNames: names of code addresses, each looked up once: of functions that are static, too, and of a stripped
// program whose debug file is at hand (elf_symbols.hpp).
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/observe/elf_symbols.hpp"
#include "core/observe/loaded_modules.hpp"
#include "core/runtime/fiber_text.hpp"

namespace fiberd::observe {

/// By one thread at a time. Blocks: files are read. Throws std::bad_alloc.
class SymbolNames {
 public:
  /// The function that holds `address`, demangled; "" where nobody knows it. Valid as long as this lives.
  [[nodiscard]] const std::string& function_at(std::uintptr_t address);
  /// The same of a return address: of the call before it. Where the function is not known: "module+0x1c0ffee".
  [[nodiscard]] std::string frame(std::uintptr_t return_address);
  [[nodiscard]] const std::vector<LoadedModule>& modules() const noexcept { return modules_; }

 private:
  std::vector<LoadedModule> modules_ = loaded_modules();
  std::map<std::string, ElfSymbols> files_;
  std::unordered_map<std::uintptr_t, std::string> names_;
};

/// For text about fibers: as fiber::symbolize(), and where that knows no name the one that SymbolNames finds: of static
/// functions and lambdas, which is what most handlers are. The program's file is read when the first of these comes, in
/// a blocking section: a dump must come out, too, when every thread of the blocking pool is stuck. On a stack that is
/// too small for that these keep their offset.
[[nodiscard]] runtime::Symbols fiber_symbols();

}  // namespace fiberd::observe

#pragma once
// What is loaded into this process and executable: the program and its libraries, as profiles tell of them.
#include <cstdint>
#include <string>
#include <vector>

namespace fiberd::observe {

struct LoadedModule {
  std::uintptr_t start = 0;   ///< of the executable segment
  std::uintptr_t limit = 0;   ///< behind it
  std::uintptr_t offset = 0;  ///< of the segment in the file
  std::uintptr_t bias = 0;    ///< what addresses in the file are moved by
  std::string file;           ///< "" where nobody knows it
  std::string build_id;       ///< in hexadecimal digits; "" if it has none
  bool program = false;       ///< not a library: kProgramImage is its file, also when another one is at `file` by now
};
inline constexpr const char* kProgramImage = "/proc/self/exe";

/// Thread-safe; takes the loader's lock. Throws std::bad_alloc.
[[nodiscard]] std::vector<LoadedModule> loaded_modules();
/// nullptr: in none of them.
[[nodiscard]] const LoadedModule* module_at(const std::vector<LoadedModule>& modules, std::uintptr_t address) noexcept;
/// The build id in ELF notes that lie at [begin, begin + size), as LoadedModule::build_id. Bounded by the size,
/// whatever they say.
[[nodiscard]] std::string build_id_of(const char* begin, std::size_t size);

}  // namespace fiberd::observe

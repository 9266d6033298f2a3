#pragma once
// ElfSymbols: the functions of an ELF file by their addresses, static ones too, which the dynamic linker does not know:
// from its .symtab, or, where it is stripped, from its debug file. Where that is looked for, as gdb does it:
//   /usr/lib/debug/.build-id/ab/cdef….debug
//   the name in .gnu_debuglink: beside the file, in .debug beside it, and below /usr/lib/debug
// A debug file counts if it has the same build id, or, where there are none, the checksum that .gnu_debuglink says.
#include <cstdint>
#include <string>
#include <vector>

namespace fiberd::observe {

class ElfSymbols {
 public:
  ElfSymbols() = default;
  /// Reads files: blocks. What is no ELF file of this machine's kind, is damaged, or is beyond kMostBytes in one of its
  /// tables has no symbols. Throws std::bad_alloc.
  /// `build_id`: the file's must be this one, else it is not what is loaded (it was replaced since), and only a debug
  /// file of that id counts; "": any. `image`: where the file can be read if not at `file`, beside which debug files
  /// are.
  explicit ElfSymbols(const std::string& file, const std::string& build_id = {}, const std::string& image = {});

  static constexpr std::uint64_t kMostBytes = 128ULL << 20U;

  /// The function that holds this address (the file's own, not where it is loaded), as the linker has it; nullptr:
  /// none. Valid as long as this lives.
  [[nodiscard]] const char* find(std::uint64_t address) const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return functions_.size(); }

 private:
  struct Function {
    std::uint64_t start;
    std::uint64_t end;
    std::uint32_t name;
  };
  class File;
  bool read(const File& file);

  std::vector<Function> functions_;  // by start
  std::string names_;                // .strtab
};

}  // namespace fiberd::observe

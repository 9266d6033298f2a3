#include "core/observe/loaded_modules.hpp"

#include <elf.h>
#include <limits.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "core/base/characters.hpp"

namespace fiberd::observe {

static std::string own_file() {
  std::array<char, PATH_MAX> path{};
  const ssize_t n = ::readlink(kProgramImage, path.data(), path.size());
  std::string file(path.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
  // The kernel's mark of one that was removed or replaced, as a package's upgrade does.
  static constexpr std::string_view kDeleted = " (deleted)";
  if (file.ends_with(kDeleted) && ::access(file.c_str(), F_OK) != 0) file.resize(file.size() - kDeleted.size());
  return file;
}

std::string build_id_of(const char* begin, std::size_t size) {
  const auto padded = [](std::size_t n) { return (n + 3) & ~std::size_t{3}; };
  for (std::size_t at = 0; size - at >= sizeof(ElfW(Nhdr));) {
    ElfW(Nhdr) note;
    std::memcpy(&note, begin + at, sizeof note);
    const std::size_t name = at + sizeof note;
    const std::size_t data = name + padded(note.n_namesz);
    if (data > size || note.n_descsz > size - data) break;
    if (note.n_type == NT_GNU_BUILD_ID &&
        std::string_view(begin + name, note.n_namesz) == std::string_view("GNU\0", 4)) {
      std::string id;
      for (std::size_t i = 0; i < note.n_descsz; ++i) {
        const auto byte = static_cast<unsigned char>(begin[data + i]);
        id += ascii::kHexDigits[byte >> 4U];
        id += ascii::kHexDigits[byte & 15U];
      }
      return id;
    }
    at = std::min(data + padded(note.n_descsz), size);
  }
  return {};
}

std::vector<LoadedModule> loaded_modules() {
  std::vector<LoadedModule> all;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* argument) {
        auto& found = *static_cast<std::vector<LoadedModule>*>(argument);
        std::string id;
        for (ElfW(Half) i = 0; i < info->dlpi_phnum && id.empty(); ++i) {
          const ElfW(Phdr)& segment = info->dlpi_phdr[i];
          if (segment.p_type == PT_NOTE)
            id = build_id_of(reinterpret_cast<const char*>(info->dlpi_addr + segment.p_vaddr), segment.p_memsz);
        }
        for (ElfW(Half) i = 0; i < info->dlpi_phnum; ++i) {
          const ElfW(Phdr)& segment = info->dlpi_phdr[i];
          if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0) continue;
          const std::uintptr_t start = info->dlpi_addr + segment.p_vaddr;
          found.push_back({start, start + segment.p_memsz, segment.p_offset, info->dlpi_addr,
                           info->dlpi_name[0] != '\0' ? info->dlpi_name : own_file(), id, info->dlpi_name[0] == '\0'});
        }
        return 0;
      },
      &all);
  return all;
}

const LoadedModule* module_at(const std::vector<LoadedModule>& modules, std::uintptr_t address) noexcept {
  const auto at = std::find_if(modules.begin(), modules.end(),
                               [address](const LoadedModule& m) { return address >= m.start && address < m.limit; });
  return at != modules.end() ? &*at : nullptr;
}

}  // namespace fiberd::observe

#include "core/fiber/interrupted_frames.hpp"

#include <link.h>

namespace fiberd::fiber {

ProgramCode program_code() noexcept {
  ProgramCode code;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* argument) {
        auto& found = *static_cast<ProgramCode*>(argument);
        for (ElfW(Half) i = 0; i < info->dlpi_phnum; ++i) {
          const ElfW(Phdr)& segment = info->dlpi_phdr[i];
          if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0) continue;
          found.begin = info->dlpi_addr + segment.p_vaddr;
          found.end = found.begin + segment.p_memsz;
        }
        return 1;  // the first is the program itself
      },
      &code);
  return code;
}

}  // namespace fiberd::fiber

#include "daemon/memory_guard.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "core/base/units.hpp"

namespace fiberd::daemon {

MemoryLimit find_memory_limit(std::uint64_t configured) {
  MemoryLimit found;
  if (const char* const text = std::getenv("GOMEMLIMIT"); text != nullptr && *text != '\0') {
    static constexpr std::uint64_t kLeast = std::uint64_t{16} << 20U;  // memory.limit's
    if (std::string_view(text) == "off") return found;
    const std::string setting = std::string("GOMEMLIMIT=") + text;
    if (const auto parsed = parse_bytes(text)) {
      found.bytes = std::max<std::uint64_t>(*parsed, 1);  // a limit of 0 is one that nothing keeps
      if (*parsed < kLeast)
        found.warning = setting + " is less than 16MiB, which the daemon itself needs: new clients are turned away";
      return found;
    }
    found.warning = setting + " is no size like 512MiB, nor off; it is passed over";
  }
  found.bytes = configured;
  return found;
}

std::uint64_t resident_bytes() noexcept {
  // Kept open: who has run out of descriptors for clients may be about to run out of memory, too. In the child of a
  // fork it is another process's.
  struct Kept {
    int fd = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    pid_t of = ::getpid();
  };
  static const Kept kept;
  const bool own = kept.fd >= 0 && kept.of == ::getpid();
  const int fd = own ? kept.fd : ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char text[128];
  const ssize_t n = ::pread(fd, text, sizeof text - 1, 0);
  if (!own) ::close(fd);
  if (n <= 0) return 0;
  text[n] = '\0';
  unsigned long long size = 0;
  unsigned long long resident = 0;
  if (std::sscanf(text, "%llu %llu", &size, &resident) != 2) return 0;
  return resident * static_cast<unsigned long long>(sysconf(_SC_PAGESIZE));
}

}  // namespace fiberd::daemon

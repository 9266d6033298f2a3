#pragma once
// The contents of a file that the configuration names. A name may be anything by the time it is opened, a pipe that
// nobody writes to among them: it is opened without waiting and looked at before it is read, never the other way round.
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/base/result.hpp"

namespace fiberd {

/// What to do with a pipe, a device or a socket.
enum class NotRegular : std::uint8_t {
  refuse,  ///< nothing waits but for a disk
  read     ///< to its end: waits for whoever writes to it
};

/// The first `most` bytes of the file, or all. Blocks the thread. Errors: is_a_directory, invalid_argument (it is no
/// regular file, and that is refused), what open(2) and read(2) say. Throws std::bad_alloc.
[[nodiscard]] Result<std::string> read_file(const std::string& path, std::size_t most,
                                            NotRegular others = NotRegular::refuse);

/// The same of a descriptor, from where it stands: waits for whoever writes to it.
[[nodiscard]] Result<std::string> read_descriptor(int fd, std::size_t most);

/// What went wrong with read_file(), for people.
[[nodiscard]] std::string why_unreadable(std::error_code error);

}  // namespace fiberd

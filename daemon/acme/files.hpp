#pragma once
// Files of the state directory: written beside their place, and renamed: whole, or as they were. Calls block the
// thread; errors name the file.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/acme/trouble.hpp"

namespace fiberd::daemon::acme {

/// What cannot be done to a path, and what the system says of it.
[[nodiscard]] tl::unexpected<Trouble> storage_failed(const std::string& what, const std::string& path, int error);

/// 16 hexadecimal digits: two texts of one file name are two files.
[[nodiscard]] std::string digest_of(std::string_view text);

enum class Lasting : std::uint8_t {
  yes,  ///< it is on the disk, under its name, when this returns
  no    ///< a power cut may take it away
};
/// All of it is there (0600), or nothing has changed.
[[nodiscard]] Outcome<void> write_file(const std::string& path, std::string_view text, Lasting lasting = Lasting::yes);
/// Whether `bytes` more find room beside `path`.
[[nodiscard]] Outcome<void> has_room_beside(const std::string& path, std::size_t bytes);
/// For this user alone (0700), those above it too if they are not there; refuses one that others can look into or that
/// is somebody else's.
[[nodiscard]] Outcome<void> make_directory(const std::string& path);

}  // namespace fiberd::daemon::acme

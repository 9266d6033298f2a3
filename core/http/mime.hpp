#pragma once
#include <string_view>

namespace fiberd::http {

/// The media type for a file's name by its last extension, without case; "application/octet-stream" when unknown. Text
/// types carry charset=utf-8. Static storage.
[[nodiscard]] std::string_view media_type_for(std::string_view file_name) noexcept;

}  // namespace fiberd::http

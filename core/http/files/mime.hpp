#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/result.hpp"

namespace fiberd::http {

/// The media type for a file's name by its last extension, without case; "application/octet-stream" when unknown. Text
/// types carry charset=utf-8. Static storage.
[[nodiscard]] std::string_view media_type_for(std::string_view file_name) noexcept;

/// Types of an operator's own, before those that are known. Immutable: any number of threads may use it at once.
class MediaTypes {
 public:
  /// Only those that are known.
  MediaTypes() noexcept = default;
  /// Extensions with their dot, without case: {".webmanifest", "application/manifest+json"}. Of two for one extension
  /// the first counts. Error invalid_argument: no extension, or a type that is no field's value. Throws std::bad_alloc.
  [[nodiscard]] static Result<MediaTypes> make(std::vector<std::pair<std::string, std::string>> types);
  /// As media_type_for(); the view holds as long as this object.
  [[nodiscard]] std::string_view find(std::string_view file_name) const noexcept;

 private:
  std::vector<std::pair<std::string, std::string>> own_;  // extensions in lower case, without the dot, in order
};

}  // namespace fiberd::http

#include "core/http/files/mime.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "core/http/characters.hpp"

namespace fiberd::http {
namespace {

struct Row {
  std::string_view extension;
  std::string_view type;
};

// Sorted by extension. Types: IANA's registry and RFC 9239 (JavaScript).
constexpr auto kRows = std::to_array<Row>({
    {"7z", "application/x-7z-compressed"},
    {"aac", "audio/aac"},
    {"apng", "image/apng"},
    {"atom", "application/atom+xml"},
    {"avi", "video/x-msvideo"},
    {"avif", "image/avif"},
    {"bin", "application/octet-stream"},
    {"bmp", "image/bmp"},
    {"br", "application/octet-stream"},
    {"bz2", "application/x-bzip2"},
    {"cjs", "text/javascript; charset=utf-8"},
    {"css", "text/css; charset=utf-8"},
    {"csv", "text/csv; charset=utf-8"},
    {"deb", "application/vnd.debian.binary-package"},
    {"doc", "application/msword"},
    {"docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
    {"eot", "application/vnd.ms-fontobject"},
    {"epub", "application/epub+zip"},
    {"flac", "audio/flac"},
    {"gif", "image/gif"},
    {"gz", "application/gzip"},
    {"htm", "text/html; charset=utf-8"},
    {"html", "text/html; charset=utf-8"},
    {"ico", "image/vnd.microsoft.icon"},
    {"ics", "text/calendar; charset=utf-8"},
    {"jar", "application/java-archive"},
    {"jpeg", "image/jpeg"},
    {"jpg", "image/jpeg"},
    {"js", "text/javascript; charset=utf-8"},
    {"json", "application/json"},
    {"jsonld", "application/ld+json"},
    {"jxl", "image/jxl"},
    {"log", "text/plain; charset=utf-8"},
    {"m4a", "audio/mp4"},
    {"m4v", "video/mp4"},
    {"map", "application/json"},
    {"md", "text/markdown; charset=utf-8"},
    {"mjs", "text/javascript; charset=utf-8"},
    {"mkv", "video/matroska"},
    {"mov", "video/quicktime"},
    {"mp3", "audio/mpeg"},
    {"mp4", "video/mp4"},
    {"mpeg", "video/mpeg"},
    {"oga", "audio/ogg"},
    {"ogg", "audio/ogg"},
    {"ogv", "video/ogg"},
    {"opus", "audio/ogg"},
    {"otf", "font/otf"},
    {"pdf", "application/pdf"},
    {"png", "image/png"},
    {"ppt", "application/vnd.ms-powerpoint"},
    {"pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
    {"rss", "application/rss+xml"},
    {"rtf", "application/rtf"},
    {"svg", "image/svg+xml"},
    {"tar", "application/x-tar"},
    {"tgz", "application/gzip"},
    {"tif", "image/tiff"},
    {"tiff", "image/tiff"},
    {"toml", "application/toml"},
    {"ttf", "font/ttf"},
    {"txt", "text/plain; charset=utf-8"},
    {"vtt", "text/vtt; charset=utf-8"},
    {"wasm", "application/wasm"},
    {"wav", "audio/wav"},
    {"weba", "audio/webm"},
    {"webm", "video/webm"},
    {"webmanifest", "application/manifest+json"},
    {"webp", "image/webp"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"xhtml", "application/xhtml+xml"},
    {"xls", "application/vnd.ms-excel"},
    {"xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
    {"xml", "application/xml"},
    {"xz", "application/x-xz"},
    {"yaml", "application/yaml"},
    {"yml", "application/yaml"},
    {"zip", "application/zip"},
    {"zst", "application/zstd"},
});
constexpr bool by_extension(const Row& a, const Row& b) { return a.extension < b.extension; }
static_assert(std::is_sorted(kRows.begin(), kRows.end(), by_extension));

constexpr std::string_view kUnknown = "application/octet-stream";

}  // namespace

/// Behind the last dot of its last segment; empty where that has none, or only one to hide it by.
static std::string_view extension_of(std::string_view file_name) noexcept {
  file_name = file_name.substr(file_name.rfind('/') + 1);  // npos + 1 is 0
  const std::size_t dot = file_name.rfind('.');
  return dot == std::string_view::npos || dot == 0 ? std::string_view() : file_name.substr(dot + 1);
}

std::string_view media_type_for(std::string_view file_name) noexcept {
  std::array<char, 16> lower;
  const std::string_view extension = extension_of(file_name);
  if (extension.size() > lower.size()) return kUnknown;
  std::transform(extension.begin(), extension.end(), lower.begin(), to_lower);
  const Row wanted{{lower.data(), extension.size()}, {}};
  const auto* it = std::lower_bound(kRows.begin(), kRows.end(), wanted, by_extension);
  return it != kRows.end() && it->extension == wanted.extension ? it->type : kUnknown;
}

Result<MediaTypes> MediaTypes::make(std::vector<std::pair<std::string, std::string>> types) {
  for (auto& [extension, type] : types) {
    if (extension.size() < 2 || extension.rfind('.') != 0 || type.empty() || !is_field_value(type))
      return fail(std::errc::invalid_argument);
    extension.erase(0, 1);
    std::transform(extension.begin(), extension.end(), extension.begin(), to_lower);
  }
  std::stable_sort(types.begin(), types.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  MediaTypes made;
  made.own_ = std::move(types);
  return made;
}

std::string_view MediaTypes::find(std::string_view file_name) const noexcept {
  const std::string_view extension = extension_of(file_name);
  const auto before = [](std::string_view a, std::string_view b) {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(),
                                        [](char x, char y) { return to_lower(x) < to_lower(y); });
  };
  const auto it = std::lower_bound(own_.begin(), own_.end(), extension,
                                   [&](const auto& own, std::string_view e) { return before(own.first, e); });
  if (it == own_.end() || before(extension, it->first)) return media_type_for(file_name);
  return it->second;
}

}  // namespace fiberd::http

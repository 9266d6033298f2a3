#include "core/http/filters/compressors.hpp"

#include <new>

namespace fiberd::http {

std::string_view token_of(Coding coding) noexcept {
  switch (coding) {
    case Coding::gzip: return "gzip";
    case Coding::brotli: return "br";
    case Coding::zstd: return "zstd";
  }
  return "identity";
}

LevelRange levels_of(Coding coding) noexcept {
  switch (coding) {
    case Coding::gzip: return {1, 9, 5};
    case Coding::brotli: return {0, 11, 4};
    case Coding::zstd: return {1, 19, 3};
  }
  return {0, 0, 0};
}

Result<std::unique_ptr<Compressors>> Compressors::make(Coding coding, int level) {
  const LevelRange range = levels_of(coding);
  if (level < range.least || level > range.most) return fail(std::errc::invalid_argument);
  try {
    switch (coding) {
      case Coding::gzip: return detail::make_gzip_compressors(level);
      case Coding::brotli: return detail::make_brotli_compressors(level);
      case Coding::zstd: return detail::make_zstd_compressors(level);
    }
  } catch (const std::bad_alloc&) {
    return fail(std::errc::not_enough_memory);
  }
  return fail(std::errc::invalid_argument);
}

}  // namespace fiberd::http

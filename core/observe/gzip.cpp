#include "core/observe/gzip.hpp"

#include <zlib.h>

namespace fiberd::observe {

Result<std::string> gzip(std::string_view text, Gzip how) {
  z_stream stream{};
  static constexpr int kGzip = 15 + 16;
  const int level = how == Gzip::fast ? Z_BEST_SPEED : Z_DEFAULT_COMPRESSION;
  if (deflateInit2(&stream, level, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    return fail(std::errc::not_enough_memory);
  std::string out;
  try {
    out.resize(deflateBound(&stream, static_cast<uLong>(text.size())));
  } catch (...) {
    deflateEnd(&stream);
    throw;
  }
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));  // zlib's interface; it is not written
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int outcome = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  if (outcome != Z_STREAM_END) return fail(std::errc::not_enough_memory);
  return out;
}

}  // namespace fiberd::observe

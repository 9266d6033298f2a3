// gzip (RFC 1952) by zlib. A deflate state is five allocations of 268 KiB together: it is reset and used again. A reset
// clears its tables, which for a short text costs a quarter of all: a body that is known to be short has a smaller
// state, whose window holds all of it, so nothing is lost.
#include <zlib.h>

#include <algorithm>
#include <array>
#include <limits>
#include <new>
#include <stdexcept>
#include <utility>

#include "core/http/filters/compressors.hpp"
#include "core/sync/object_pool.hpp"

namespace fiberd::http {
namespace {

/// zlib keeps the address of its z_stream.
class Deflate {
 public:
  /// `smaller`: by how many powers of two. 0 is zlib's usual state.
  explicit Deflate(int level, int smaller) : z_(std::make_unique<z_stream>()) {
    constexpr int kGzip = 16;  // its header and trailer, not zlib's
    constexpr int kMemory = 8;
    if (deflateInit2(z_.get(), level, Z_DEFLATED, MAX_WBITS - smaller + kGzip, kMemory - smaller, Z_DEFAULT_STRATEGY) !=
        Z_OK)
      throw std::bad_alloc();
  }
  Deflate(Deflate&&) noexcept = default;
  Deflate& operator=(Deflate&&) = delete;
  ~Deflate() {
    if (z_ != nullptr) (void)deflateEnd(z_.get());
  }
  [[nodiscard]] z_stream& stream() const noexcept { return *z_; }

 private:
  std::unique_ptr<z_stream> z_;
};
struct MakeDeflate {
  int level;
  int smaller;
  Deflate operator()() const { return Deflate(level, smaller); }
};
using Pool = sync::ObjectPool<Deflate, MakeDeflate>;

class GzipEncoder final : public BodyEncoder {
 public:
  explicit GzipEncoder(Pool::Pooled deflate) noexcept : deflate_(std::move(deflate)) {
    (void)deflateReset(&deflate_->stream());
  }
  Result<Encoded> encode(std::string_view in, std::span<char> out, EncodeTo to) noexcept override {
    constexpr std::size_t most = std::numeric_limits<uInt>::max();
    z_stream& z = deflate_->stream();
    const std::size_t given = std::min(in.size(), most);
    const std::size_t room = std::min(out.size(), most);
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));  // NOLINT: zlib has no const here
    z.avail_in = static_cast<uInt>(given);
    z.next_out = reinterpret_cast<Bytef*>(out.data());
    z.avail_out = static_cast<uInt>(room);
    const bool last = given == in.size();
    const int mode = !last || to == EncodeTo::go_on ? Z_NO_FLUSH : to == EncodeTo::flush ? Z_SYNC_FLUSH : Z_FINISH;
    const int how = deflate(&z, mode);
    // Z_BUF_ERROR: there was nothing to be done. A flush that filled `out` to its last byte is asked for again.
    if (how != Z_OK && how != Z_STREAM_END && how != Z_BUF_ERROR) return fail(std::errc::io_error);
    const bool done = last && z.avail_in == 0 && (to == EncodeTo::finish ? how == Z_STREAM_END : z.avail_out != 0);
    return Encoded{given - z.avail_in, room - z.avail_out, done};
  }

 private:
  Pool::Pooled deflate_;
};

class GzipCompressors final : public Compressors {
 public:
  explicit GzipCompressors(int level)
      : pools_{Pool(detail::kKeptCompressors, MakeDeflate{level, 0}),
               Pool(detail::kKeptCompressors, MakeDeflate{level, 1}),
               Pool(detail::kKeptCompressors, MakeDeflate{level, 2}),
               Pool(detail::kKeptCompressors, MakeDeflate{level, 3})} {}
  std::unique_ptr<BodyEncoder> get(std::optional<std::uint64_t> length) noexcept override {
    // Of its window zlib leaves as many bytes unused as a match and its look-ahead may take.
    constexpr std::uint64_t kUnused = 262;
    std::size_t smaller = 0;
    while (length && smaller + 1 < pools_.size() && *length + kUnused < std::uint64_t{1} << (MAX_WBITS - smaller - 1))
      ++smaller;
    try {
      return std::make_unique<GzipEncoder>(pools_[smaller].get());
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
  }

 private:
  std::array<Pool, 4> pools_;  // by how much smaller the state is
};

}  // namespace

std::unique_ptr<Compressors> detail::make_gzip_compressors(int level) {
  return std::make_unique<GzipCompressors>(level);
}

}  // namespace fiberd::http

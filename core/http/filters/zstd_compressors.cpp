// zstd (RFC 8878) by libzstd, with a window that RFC 9659 allows to HTTP.
#include <zstd.h>

#include <memory>
#include <new>
#include <utility>

#include "core/http/filters/compressors.hpp"
#include "core/sync/object_pool.hpp"

namespace fiberd::http {
namespace {

constexpr int kWindowBits = 18;

struct Free {
  void operator()(ZSTD_CCtx* context) const noexcept { (void)ZSTD_freeCCtx(context); }
};
using Context = std::unique_ptr<ZSTD_CCtx, Free>;

struct MakeContext {
  int level;
  Context operator()() const {
    Context made(ZSTD_createCCtx());
    if (made == nullptr || ZSTD_isError(ZSTD_CCtx_setParameter(made.get(), ZSTD_c_compressionLevel, level)) != 0U ||
        ZSTD_isError(ZSTD_CCtx_setParameter(made.get(), ZSTD_c_windowLog, kWindowBits)) != 0U)
      throw std::bad_alloc();
    return made;
  }
};
using Pool = sync::ObjectPool<Context, MakeContext>;

class ZstdEncoder final : public BodyEncoder {
 public:
  ZstdEncoder(Pool::Pooled context, std::optional<std::uint64_t> length) noexcept : context_(std::move(context)) {
    (void)ZSTD_CCtx_reset(context_->get(), ZSTD_reset_session_only);
    // It fits its tables to it. A body of another length than was said is the end of the answer anyway.
    if (length) (void)ZSTD_CCtx_setPledgedSrcSize(context_->get(), *length);
  }
  Result<Encoded> encode(std::string_view in, std::span<char> out, EncodeTo to) noexcept override {
    ZSTD_inBuffer from{in.data(), in.size(), 0};
    ZSTD_outBuffer into{out.data(), out.size(), 0};
    const ZSTD_EndDirective mode = to == EncodeTo::go_on   ? ZSTD_e_continue
                                   : to == EncodeTo::flush ? ZSTD_e_flush
                                                           : ZSTD_e_end;
    const std::size_t left = ZSTD_compressStream2(context_->get(), &into, &from, mode);
    if (ZSTD_isError(left) != 0U) return fail(std::errc::io_error);
    const bool all = from.pos == from.size;
    return Encoded{from.pos, into.pos, all && (to == EncodeTo::go_on ? into.pos != into.size : left == 0)};
  }

 private:
  Pool::Pooled context_;
};

class ZstdCompressors final : public Compressors {
 public:
  explicit ZstdCompressors(int level) : pool_(detail::kKeptCompressors, MakeContext{level}) {}
  std::unique_ptr<BodyEncoder> get(std::optional<std::uint64_t> length) noexcept override {
    try {
      return std::make_unique<ZstdEncoder>(pool_.get(), length);
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
  }

 private:
  Pool pool_;
};

}  // namespace

std::unique_ptr<Compressors> detail::make_zstd_compressors(int level) {
  return std::make_unique<ZstdCompressors>(level);
}

}  // namespace fiberd::http

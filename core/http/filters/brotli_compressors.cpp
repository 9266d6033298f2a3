// br (RFC 7932) by libbrotli. Its encoder cannot be reset: each body has one of its own.
#include <brotli/encode.h>

#include <algorithm>
#include <memory>
#include <new>

#include "core/http/filters/compressors.hpp"

namespace fiberd::http {
namespace {

constexpr std::uint32_t kWindowBits = 18;

struct Destroy {
  void operator()(BrotliEncoderState* state) const noexcept { BrotliEncoderDestroyInstance(state); }
};
using State = std::unique_ptr<BrotliEncoderState, Destroy>;

class BrotliEncoder final : public BodyEncoder {
 public:
  explicit BrotliEncoder(State state) noexcept : state_(std::move(state)) {}
  Result<Encoded> encode(std::string_view in, std::span<char> out, EncodeTo to) noexcept override {
    const auto* from = reinterpret_cast<const std::uint8_t*>(in.data());
    auto* into = reinterpret_cast<std::uint8_t*>(out.data());
    std::size_t left = in.size();
    std::size_t room = out.size();
    const BrotliEncoderOperation mode = to == EncodeTo::go_on   ? BROTLI_OPERATION_PROCESS
                                        : to == EncodeTo::flush ? BROTLI_OPERATION_FLUSH
                                                                : BROTLI_OPERATION_FINISH;
    if (BrotliEncoderCompressStream(state_.get(), mode, &left, &from, &room, &into, nullptr) == BROTLI_FALSE)
      return fail(std::errc::io_error);
    const bool rest = BrotliEncoderHasMoreOutput(state_.get()) != BROTLI_FALSE;
    const bool ended = BrotliEncoderIsFinished(state_.get()) != BROTLI_FALSE;
    return Encoded{in.size() - left, out.size() - room, left == 0 && !rest && (to != EncodeTo::finish || ended)};
  }

 private:
  State state_;
};

class BrotliCompressors final : public Compressors {
 public:
  explicit BrotliCompressors(int level) noexcept : level_(static_cast<std::uint32_t>(level)) {}
  std::unique_ptr<BodyEncoder> get(std::optional<std::uint64_t> length) noexcept override {
    State state(BrotliEncoderCreateInstance(nullptr, nullptr, nullptr));
    if (state == nullptr) return nullptr;
    std::uint32_t bits = kWindowBits;
    if (length) {
      while (bits > BROTLI_MIN_WINDOW_BITS && (std::uint64_t{1} << (bits - 1)) >= *length + 16) --bits;
      (void)BrotliEncoderSetParameter(state.get(), BROTLI_PARAM_SIZE_HINT,
                                      static_cast<std::uint32_t>(std::min<std::uint64_t>(*length, 1U << 30U)));
    }
    (void)BrotliEncoderSetParameter(state.get(), BROTLI_PARAM_QUALITY, level_);
    (void)BrotliEncoderSetParameter(state.get(), BROTLI_PARAM_LGWIN, bits);
    return std::unique_ptr<BodyEncoder>(new (std::nothrow) BrotliEncoder(std::move(state)));
  }

 private:
  const std::uint32_t level_;
};

}  // namespace

std::unique_ptr<Compressors> detail::make_brotli_compressors(int level) {
  return std::make_unique<BrotliCompressors>(level);
}

}  // namespace fiberd::http

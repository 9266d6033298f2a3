#pragma once
// Decoders of the libraries' own, for what the compressors make.
#include <brotli/decode.h>
#include <zlib.h>
#include <zstd.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace fiberd::test {

/// What `data` in `coding` ("gzip", "br", "zstd") is, as far as it goes. `whole`: also that it ends, and nothing stands
/// behind its end. Throws when it is none.
inline std::string decompress(std::string_view coding, std::string_view data, bool whole = true) {
  std::string out;
  std::string room(65536, '\0');
  bool ended = false;
  std::size_t left = data.size();
  if (coding == "gzip") {
    z_stream z{};
    if (inflateInit2(&z, 15 + 16) != Z_OK) throw std::runtime_error("inflateInit2");
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
    z.avail_in = static_cast<uInt>(data.size());
    int how = Z_OK;
    do {
      z.next_out = reinterpret_cast<Bytef*>(room.data());
      z.avail_out = static_cast<uInt>(room.size());
      how = inflate(&z, Z_SYNC_FLUSH);
      out.append(room, 0, room.size() - z.avail_out);
    } while (how == Z_OK && (z.avail_in != 0 || z.avail_out == 0));
    ended = how == Z_STREAM_END;
    left = z.avail_in;
    inflateEnd(&z);
    if (how != Z_OK && how != Z_STREAM_END && how != Z_BUF_ERROR) throw std::runtime_error("inflate");
  } else if (coding == "br") {
    const std::unique_ptr<BrotliDecoderState, decltype(&BrotliDecoderDestroyInstance)> state(
        BrotliDecoderCreateInstance(nullptr, nullptr, nullptr), &BrotliDecoderDestroyInstance);
    const auto* in = reinterpret_cast<const std::uint8_t*>(data.data());
    BrotliDecoderResult how = BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT;
    while (how == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT || BrotliDecoderHasMoreOutput(state.get()) != 0) {
      auto* to = reinterpret_cast<std::uint8_t*>(room.data());
      std::size_t free = room.size();
      how = BrotliDecoderDecompressStream(state.get(), &left, &in, &free, &to, nullptr);
      out.append(room, 0, room.size() - free);
    }
    if (how == BROTLI_DECODER_RESULT_ERROR) throw std::runtime_error("brotli");
    ended = how == BROTLI_DECODER_RESULT_SUCCESS;
  } else {
    const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(), &ZSTD_freeDCtx);
    ZSTD_inBuffer in{data.data(), data.size(), 0};
    std::size_t how = 1;
    for (bool full = true; how != 0 && (in.pos != in.size || full);) {
      ZSTD_outBuffer to{room.data(), room.size(), 0};
      how = ZSTD_decompressStream(context.get(), &to, &in);
      if (ZSTD_isError(how) != 0U) throw std::runtime_error("zstd");
      out.append(room, 0, to.pos);
      full = to.pos == to.size;
    }
    ended = how == 0;
    left = in.size - in.pos;
  }
  if (whole && (!ended || left != 0)) throw std::runtime_error(std::string(coding) + ": not whole");
  return out;
}

}  // namespace fiberd::test

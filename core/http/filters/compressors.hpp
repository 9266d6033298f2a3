#pragma once
// Compressors: encoders of one content coding at one level, with what they are costly to make from kept for the next.
//
// What one that runs takes of memory, and is bounded by, whatever the length of the body: gzip 268 KiB (zlib's window
// of 32 KiB and hash tables), br and zstd some 1 to 2 MiB at the levels that are usual here: their windows are held to
// 256 KiB, for a server has many streams and a browser takes no more from one than it shows. A level above 9 of br
// takes more, and much more time.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "core/base/result.hpp"
#include "core/http/body_encoder.hpp"

namespace fiberd::http {

enum class Coding : std::uint8_t { gzip, brotli, zstd };
inline constexpr std::size_t kCodings = 3;
/// As Content-Encoding and Accept-Encoding write it (RFC 9110 section 8.4.1, RFC 7932, RFC 8878): "gzip", "br", "zstd".
[[nodiscard]] std::string_view token_of(Coding coding) noexcept;

struct LevelRange {
  int least;
  int most;
  int usual;  ///< worth its CPU for what is compressed anew for each client
};
[[nodiscard]] LevelRange levels_of(Coding coding) noexcept;

/// Any thread; must outlive the encoders that are out.
class Compressors {
 public:
  Compressors() = default;
  Compressors(const Compressors&) = delete;
  Compressors& operator=(const Compressors&) = delete;
  virtual ~Compressors() = default;

  /// Errors: invalid_argument (a level outside of levels_of), not_enough_memory.
  [[nodiscard]] static Result<std::unique_ptr<Compressors>> make(Coding coding, int level);

  /// For one body, of `length` bytes if that is known. nullptr: no memory.
  [[nodiscard]] virtual std::unique_ptr<BodyEncoder> get(std::optional<std::uint64_t> length) noexcept = 0;
};

namespace detail {
[[nodiscard]] std::unique_ptr<Compressors> make_gzip_compressors(int level);
[[nodiscard]] std::unique_ptr<Compressors> make_brotli_compressors(int level);
[[nodiscard]] std::unique_ptr<Compressors> make_zstd_compressors(int level);
/// How many idle ones a Processor keeps.
inline constexpr std::size_t kKeptCompressors = 4;
}  // namespace detail

}  // namespace fiberd::http

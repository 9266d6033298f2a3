#pragma once
// BodyEncoder: what the body of an answer passes on its way out, piece by piece: a compression, a count, a hash.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/base/result.hpp"

namespace fiberd::http {

enum class EncodeTo : std::uint8_t {
  go_on,  ///< more may gather
  flush,  ///< all that was given so far must come out: somebody waits for it
  finish  ///< the body ends with this input
};

struct Encoded {
  std::size_t consumed;  ///< bytes of the input
  std::size_t produced;  ///< bytes of the output
  bool done;             ///< all input is used up, and nothing more would come out for this EncodeTo
};

/// Used by one fiber at a time.
class BodyEncoder {
 public:
  BodyEncoder() = default;
  BodyEncoder(const BodyEncoder&) = delete;
  BodyEncoder& operator=(const BodyEncoder&) = delete;
  virtual ~BodyEncoder() = default;

  /// Called again, with what is left of the input, until it says done. An error ends the answer, and the connection
  /// with it. Must not throw; may park.
  [[nodiscard]] virtual Result<Encoded> encode(std::string_view in, std::span<char> out, EncodeTo to) noexcept = 0;
};

}  // namespace fiberd::http

#include "core/http/filters/compressors.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "core/base/random.hpp"
#include "tests/support/decompress.hpp"

using namespace fiberd;
using http::BodyEncoder;
using http::Coding;
using http::Compressors;
using http::EncodeTo;

namespace {

std::string some_text(std::size_t size, std::uint64_t seed) {
  Random random(seed);
  std::string text;
  while (text.size() < size) {
    text += random.below(3) == 0 ? std::to_string(random.next()) : "the quick brown fox jumps over the lazy dog ";
    if (random.below(8) == 0) text += static_cast<char>(random.below(256));
  }
  text.resize(size);
  return text;
}

/// As an Exchange does it: again and again until it is done, with pieces of `room` bytes.
void put(BodyEncoder& encoder, std::string_view in, EncodeTo to, std::size_t room, std::string& out) {
  std::string piece(room, '\0');
  for (int stuck = 0;;) {
    const Result<http::Encoded> step = encoder.encode(in, piece, to);
    REQUIRE(step);
    REQUIRE(step->consumed <= in.size());
    REQUIRE(step->produced <= room);
    in.remove_prefix(step->consumed);
    out.append(piece, 0, step->produced);
    if (step->done) {
      REQUIRE(in.empty());
      return;
    }
    stuck = step->consumed == 0 && step->produced == 0 ? stuck + 1 : 0;
    REQUIRE(stuck == 0);  // an Exchange takes this for a broken encoder
  }
}

}  // namespace

TEST_CASE("what is compressed is what was written, however it is cut, flushed and taken", "[http][compression]") {
  for (const Coding coding : {Coding::gzip, Coding::brotli, Coding::zstd}) {
    const http::LevelRange levels = http::levels_of(coding);
    for (const int level : {levels.least, levels.usual, std::min(levels.most, 9)}) {
      const auto compressors = *Compressors::make(coding, level);
      for (std::uint64_t seed = 0; seed < 12; ++seed) {
        Random random(seed);
        const std::string text = some_text(random.below(seed % 3 == 0 ? 200'000 : 3000), seed);
        const bool known = random.below(2) == 0;
        const auto encoder = compressors->get(known ? std::optional<std::uint64_t>(text.size()) : std::nullopt);
        REQUIRE(encoder);
        const std::size_t room = random.below(3) == 0 ? 14 * 1024 : 8 + random.below(600);
        std::string out;
        for (std::size_t at = 0; at < text.size();) {
          const std::size_t n = std::min<std::size_t>(1 + random.below(20'000), text.size() - at);
          const bool flush = random.below(3) == 0;
          put(*encoder, std::string_view(text).substr(at, n), flush ? EncodeTo::flush : EncodeTo::go_on, room, out);
          at += n;
          // Whoever waits for the piece can read it.
          if (flush && test::decompress(http::token_of(coding), out, false) != text.substr(0, at))
            FAIL(http::token_of(coding) << " level " << level << " seed " << seed << ": a flush holds something back");
        }
        put(*encoder, {}, EncodeTo::finish, room, out);
        if (test::decompress(http::token_of(coding), out) != text)
          FAIL(http::token_of(coding) << " level " << level << " seed " << seed);
        if (text.size() > 1000) CHECK(out.size() < text.size());
      }
    }
  }
}

TEST_CASE("a compressor that was left in the middle is as new for the next", "[http][compression]") {
  for (const Coding coding : {Coding::gzip, Coding::brotli, Coding::zstd}) {
    const auto compressors = *Compressors::make(coding, http::levels_of(coding).usual);
    for (int i = 0; i < 3; ++i) {
      const auto left = compressors->get(std::nullopt);
      std::string ignored;
      put(*left, some_text(50'000, 1), EncodeTo::go_on, 4096, ignored);
    }
    const auto encoder = compressors->get(std::nullopt);
    std::string out;
    put(*encoder, "hello", EncodeTo::finish, 4096, out);
    CHECK(test::decompress(http::token_of(coding), out) == "hello");
  }
}

TEST_CASE("a flush with nothing to say says little, and ends", "[http][compression]") {
  for (const Coding coding : {Coding::gzip, Coding::brotli, Coding::zstd}) {
    const auto compressors = *Compressors::make(coding, http::levels_of(coding).usual);
    const auto encoder = compressors->get(std::nullopt);
    std::string out;
    put(*encoder, "x", EncodeTo::flush, 4096, out);
    for (int i = 0; i < 1000; ++i) put(*encoder, {}, EncodeTo::flush, 4096, out);
    put(*encoder, {}, EncodeTo::finish, 4096, out);
    CHECK(test::decompress(http::token_of(coding), out) == "x");
    CHECK(out.size() < 8000);
  }
}

TEST_CASE("levels beyond the library's are refused", "[http][compression]") {
  for (const Coding coding : {Coding::gzip, Coding::brotli, Coding::zstd}) {
    const http::LevelRange levels = http::levels_of(coding);
    CHECK(Compressors::make(coding, levels.most));
    CHECK_FALSE(Compressors::make(coding, levels.least - 1));
    CHECK_FALSE(Compressors::make(coding, levels.most + 1));
  }
}

TEST_CASE("a length is advice: for each there is a state that fits, and more than was said comes out whole",
          "[http][compression]") {
  for (const Coding coding : {Coding::gzip, Coding::brotli, Coding::zstd}) {
    const auto compressors = *Compressors::make(coding, http::levels_of(coding).usual);
    // Around what the windows of gzip's states hold, from 4 KiB to 32 KiB.
    for (const std::size_t size : {0U, 1U, 3833U, 3834U, 7929U, 7930U, 16'121U, 16'122U, 100'000U}) {
      for (const std::uint64_t said : {std::uint64_t{0}, std::uint64_t{size}, ~std::uint64_t{0}}) {
        CAPTURE(static_cast<int>(coding), size, said);
        const std::string text = some_text(size, size);
        std::string out;
        put(*compressors->get(said), text, EncodeTo::finish, 5000, out);
        CHECK((test::decompress(std::string(http::token_of(coding)), out) == text));
      }
    }
  }
}

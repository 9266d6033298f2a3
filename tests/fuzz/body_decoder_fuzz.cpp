// The chunked decoder: the same data and the same verdict however the bytes arrive, and never more than the limits.
#include <string>

#include "core/base/random.hpp"
#include "core/http/h1/body_decoder.hpp"
#include "tests/fuzz/check.hpp"

using namespace fiberd;

namespace {

struct Outcome {
  std::string data;
  bool done = false;
  http::Reject reason = http::Reject::none;
  std::size_t consumed = 0;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

template <class NextSize>
Outcome decode(std::string_view input, std::uint64_t limit, NextSize next_size) {
  http::BodyDecoder decoder;
  Outcome out;
  (void)decoder.start(http::Framing::chunked, 0, {.body_size = limit});
  while (!decoder.done() && out.consumed < input.size()) {
    const std::string piece(input.substr(out.consumed, next_size()));
    const http::BodyDecoder::Step step = decoder.decode(piece.data(), piece.size());
    FUZZ_CHECK(step.consumed <= piece.size());
    out.data += step.data;
    out.consumed += step.consumed;
    if (step.status == http::BodyDecoder::Status::refused) {
      out.reason = decoder.reason();
      break;
    }
    FUZZ_CHECK(step.consumed != 0 || decoder.done());
  }
  out.done = decoder.done();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input = fuzz::text(data, size);
  Random random(fuzz::take(input, 2));
  const std::uint64_t limit = fuzz::take(input, 1) * 8;
  const Outcome whole = decode(input, limit, [] { return std::string_view::npos; });
  const Outcome split = decode(input, limit, [&] { return 1 + random.below(random.below(4) == 0 ? 64 : 3); });
  FUZZ_CHECK(whole == split);
  FUZZ_CHECK(whole.data.size() <= limit);
  FUZZ_CHECK(!whole.done || whole.reason == http::Reject::none);
  FUZZ_CHECK(whole.reason == http::Reject::none || http::status_of(whole.reason) >= 400);
  return 0;
}

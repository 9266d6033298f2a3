// Ranges, preconditions and Accept fields, each line of the input a field.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "core/http/files/byte_ranges.hpp"
#include "core/http/files/conditional.hpp"
#include "core/http/negotiation.hpp"
#include "tests/fuzz/check.hpp"

using namespace fiberd;

namespace {

void check_ranges(std::string_view value, std::uint64_t size) {
  std::vector<http::ByteRange> ranges;
  if (http::parse_byte_ranges(value, size, 16, ranges) != http::RangeVerdict::parts) return;
  FUZZ_CHECK(!ranges.empty() && ranges.size() <= 16);
  std::sort(ranges.begin(), ranges.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    FUZZ_CHECK(ranges[i].first <= ranges[i].last && ranges[i].last < size);
    FUZZ_CHECK(i == 0 || ranges[i - 1].last + 1 < ranges[i].first);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input = fuzz::text(data, size);
  const std::uint64_t representation = fuzz::take(input, 1) == 0xff ? UINT64_MAX : fuzz::take(input, 2);
  std::vector<http::FieldSpan> spans;
  for (std::size_t at = 0; at < input.size() && spans.size() < 20;) {
    const std::size_t end = std::min(input.find('\n', at), input.size());
    const std::size_t colon = std::min(input.find(':', at), end);
    const std::size_t value = std::min(colon + 1, end);
    spans.push_back({static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(colon - at),
                     static_cast<std::uint32_t>(value), static_cast<std::uint32_t>(end - value)});
    at = end + 1;
  }
  const http::HeaderView headers(input.data(), spans.data(), spans.size());
  for (std::size_t i = headers.index_of("range"); i < headers.size(); i = headers.index_of("range", i + 1))
    check_ranges(headers[i].value, representation);

  http::Request request;
  request.headers = headers;
  static constexpr std::array<http::Validators, 3> kValidators{
      {{"\"a\"", 1'000'000'000}, {"W/\"a\"", 1'000'000'000}, {"", -1}}};
  for (const http::Validators& v : kValidators) {
    request.method = http::Method::get;
    const http::Precondition get = http::evaluate_preconditions(request, v, 1'100'000'000);
    request.method = http::Method::put;
    const http::Precondition put = http::evaluate_preconditions(request, v, 1'100'000'000);
    FUZZ_CHECK(put != http::Precondition::not_modified);
    if (get == http::Precondition::failed) FUZZ_CHECK(put == http::Precondition::failed);
    if (http::if_range_holds(headers, v, 1'100'000'000) && headers.has("if-range"))
      FUZZ_CHECK(!v.etag.starts_with("W/") || !headers.find("if-range").ends_with('"'));
  }
  static constexpr std::array<std::string_view, 3> kNames{"br", "zstd", "gzip"};
  const std::size_t coding = http::choose_encoding(headers, kNames);
  FUZZ_CHECK(coding == http::kIdentity || (coding < kNames.size() && headers.has("accept-encoding")));
  static constexpr std::array<std::string_view, 3> kTypes{"text/plain", "application/problem+json", "text/html"};
  FUZZ_CHECK(http::choose_media_type(headers, kTypes) < kTypes.size());
  return 0;
}

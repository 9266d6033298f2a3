// traceparent and tracestate, which anybody writes: what is taken is what stands there, what we write is read as the
// same, and what is passed on of a state is its own members, within the bounds.
#include <algorithm>
#include <string>

#include "core/trace/traceparent.hpp"
#include "tests/fuzz/check.hpp"

using namespace fiberd;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::text(data, size);
  if (const auto span = trace::parse_traceparent(text)) {
    FUZZ_CHECK(span->valid());
    const auto again = trace::write_traceparent(*span);
    const std::string_view written(again.data(), again.size());
    FUZZ_CHECK(trace::parse_traceparent(written) == span);
    FUZZ_CHECK(text.find(written.substr(2, 51)) != std::string_view::npos);
  }
  std::string state;
  std::size_t members = 0;
  // As two fields, cut anywhere.
  const std::size_t half = size / 2;
  if (!trace::append_tracestate(text, state, members)) return 0;
  FUZZ_CHECK(members <= trace::kMostMembers);
  FUZZ_CHECK(static_cast<std::size_t>(std::count(state.begin(), state.end(), ',')) + (members != 0 ? 1 : 0) == members);
  FUZZ_CHECK(std::all_of(state.begin(), state.end(), [](char c) { return c >= 0x20 && c < 0x7f; }));
  std::string same;
  members = 0;
  FUZZ_CHECK(trace::append_tracestate(state, same, members) && same == state);
  trace::bound_tracestate(same);
  FUZZ_CHECK(same.size() <= trace::kMostState);
  FUZZ_CHECK(state.size() > trace::kMostState || same == state);
  std::string two;
  members = 0;
  (void)(trace::append_tracestate(text.substr(0, half), two, members) &&
         trace::append_tracestate(text.substr(half), two, members));
  return 0;
}

#pragma once
// For the fuzzers: what must hold for every input. A fuzzer is LLVMFuzzerTestOneInput in a file of its own; built by
// the preset `fuzz` it searches (`make fuzz`), in every other build replay.cpp runs it over its corpus (`make test`).
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#define FUZZ_CHECK(condition)                                                                  \
  do {                                                                                         \
    if (!(condition)) {                                                                        \
      (void)std::fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                            \
    }                                                                                          \
  } while (false)

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace fiberd::fuzz {

/// The first `n` bytes of the input as a number: what steers a fuzzer and is no part of what is parsed.
inline std::uint64_t take(std::string_view& input, std::size_t n) {
  std::uint64_t value = 0;
  for (; n != 0 && !input.empty(); --n) {
    value = value << 8U | static_cast<unsigned char>(input.front());
    input.remove_prefix(1);
  }
  return value;
}

inline std::string_view text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace fiberd::fuzz

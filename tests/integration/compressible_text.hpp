#pragma once
// Text that is worth compressing, as long as a test wants it.
#include <cstddef>
#include <string>

namespace fiberd::test {

inline std::string text_of(std::size_t size) {
  std::string text;
  for (std::size_t i = 0; text.size() < size; ++i) text += "line " + std::to_string(i) + " of what compresses well\n";
  text.resize(size);
  return text;
}

}  // namespace fiberd::test

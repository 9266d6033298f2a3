#include "core/http/path.hpp"

#include "core/http/characters.hpp"

namespace fiberd::http {
namespace {

bool is_plain(std::string_view raw) noexcept {
  char previous = '\0';
  for (const char c : raw) {
    if (c == '%' || (previous == '/' && (c == '.' || c == '/'))) return false;
    previous = c;
  }
  return true;
}

}  // namespace

NormalisedPath normalise_path(std::string_view raw, std::span<char> scratch) noexcept {
  if (raw.empty() || raw.front() != '/') return {Reject::bad_target, {}};
  if (is_plain(raw)) return {Reject::none, raw};
  if (scratch.size() < raw.size()) return {Reject::path_too_long, {}};

  char* const out = scratch.data();
  std::size_t size = 0;     // written; out[0] is always '/'
  std::size_t segment = 1;  // where the segment being written begins
  const auto end_segment = [&](bool last) noexcept {
    const std::string_view text(out + segment, size - segment);
    if (text.empty() || text == ".") {
      size = segment;
    } else if (text == "..") {
      // Back to the slash that ends the segment before; the root has none.
      size = segment > 1 ? segment - 1 : 1;
      while (size > 1 && out[size - 1] != '/') --size;
    } else if (!last) {
      out[size++] = '/';
    }
    segment = size;
  };

  out[size++] = '/';
  for (std::size_t i = 1; i < raw.size(); ++i) {
    char c = raw[i];
    if (c == '/') {
      end_segment(false);
      continue;
    }
    if (c == '%') {
      if (raw.size() - i < 3) return {Reject::bad_escape, {}};
      const int high = hex_value(raw[i + 1]);
      const int low = hex_value(raw[i + 2]);
      if (high < 0 || low < 0) return {Reject::bad_escape, {}};
      c = static_cast<char>(high * 16 + low);
      if (c == '\0') return {Reject::nul_in_path, {}};
      if (c == '/') return {Reject::encoded_slash, {}};
      i += 2;
    }
    out[size++] = c;
  }
  end_segment(true);
  return {Reject::none, {out, size}};
}

}  // namespace fiberd::http

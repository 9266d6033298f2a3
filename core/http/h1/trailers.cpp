#include "core/http/h1/trailers.hpp"

#include <new>

namespace fiberd::http {

void H1Stream::Trailers::keep(std::unique_ptr<Trailers>& trailers, std::string_view consumed,
                              std::size_t size) noexcept {
  try {
    if (trailers == nullptr) trailers = std::make_unique<Trailers>();
    if (!trailers->lost) trailers->text += consumed.substr(consumed.size() - size);
  } catch (const std::bad_alloc&) {
    if (trailers != nullptr) trailers->lost = true;
  }
}

void H1Stream::Trailers::index() noexcept {
  if (lost || !fields.empty()) return;
  const std::string_view all = text;
  try {
    for (std::size_t at = 0; at < all.size();) {
      const std::size_t end = all.find("\r\n", at);
      const std::string_view line = all.substr(at, end - at);
      const std::size_t colon = line.find(':');
      if (colon == std::string_view::npos) break;  // the empty line
      const std::string_view value = trim(line.substr(colon + 1));
      fields.push_back({static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(colon),
                        static_cast<std::uint32_t>(value.data() - all.data()),
                        static_cast<std::uint32_t>(value.size())});
      at = end + 2;
    }
  } catch (const std::bad_alloc&) {
    fields.clear();
    lost = true;
  }
}

}  // namespace fiberd::http

#pragma once
// The trailer section of a request's body, kept for who asks for it (RFC 9112 section 7.1.2). BodyDecoder has checked
// every byte of it, and bounded it, before it comes here.
#include <memory>
#include <string>
#include <vector>

#include "core/http/h1/stream.hpp"

namespace fiberd::http {

struct H1Stream::Trailers {
  std::string text;
  std::vector<FieldSpan> fields;
  bool lost = false;

  [[nodiscard]] HeaderView view() const noexcept { return {text.data(), fields.data(), fields.size()}; }

  /// The last `size` bytes of `consumed` are the section's. Without memory for them trailers are left out: whoever
  /// cannot keep them may drop them (RFC 9110 section 6.5.1).
  static void keep(std::unique_ptr<Trailers>& trailers, std::string_view consumed, std::size_t size) noexcept;
  /// Once, when the section has ended.
  void index() noexcept;
};

}  // namespace fiberd::http

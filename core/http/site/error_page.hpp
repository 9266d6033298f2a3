#pragma once
// Bodies of error answers.
#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "core/http/message.hpp"

namespace fiberd::http {

/// A page of the operator's instead of ErrorBody.
struct ErrorPage {
  unsigned status = 0;
  std::string content_type;
  std::string body;
};

/// What the server itself says of an error, in the form that Accept likes best. Never allocates.
class ErrorBody {
 public:
  ErrorBody(unsigned status, const HeaderView& headers) noexcept;
  [[nodiscard]] std::string_view content_type() const noexcept { return content_type_; }
  [[nodiscard]] std::string_view text() const noexcept { return {text_.data(), size_}; }

 private:
  std::string_view content_type_;
  std::size_t size_;
  std::array<char, 256> text_;
};

}  // namespace fiberd::http

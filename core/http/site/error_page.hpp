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
  bool names_requests = false;  ///< names_requests() of its body
};

/// What an error names, so that who sees it can tell which one it was. Empty: nothing.
struct RequestNames {
  std::string_view request_id{};
  std::string_view trace_id{};
};
/// Whether a page has a place for them: ${request_id} or ${trace_id}.
[[nodiscard]] bool names_requests(std::string_view page) noexcept;
/// The page with them in their places; "-" for none. Throws std::bad_alloc.
[[nodiscard]] std::string fill_in(std::string_view page, const RequestNames& names);

/// What the server itself says of an error, in the form that Accept likes best. Never allocates.
class ErrorBody {
 public:
  ErrorBody(unsigned status, const HeaderView& headers, const RequestNames& names = {}) noexcept;
  [[nodiscard]] std::string_view content_type() const noexcept { return content_type_; }
  [[nodiscard]] std::string_view text() const noexcept { return {text_.data(), size_}; }

 private:
  std::string_view content_type_;
  std::size_t size_;
  std::array<char, 640> text_{};
};

}  // namespace fiberd::http

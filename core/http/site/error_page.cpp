#include "core/http/site/error_page.hpp"

#include <algorithm>
#include <cstdio>

#include "core/http/negotiation.hpp"

namespace fiberd::http {

static constexpr std::array<std::string_view, 3> kForms{"text/plain", "application/problem+json", "text/html"};
static constexpr std::array<std::string_view, 3> kTypes{"text/plain; charset=utf-8", "application/problem+json",
                                                        "text/html; charset=utf-8"};

ErrorBody::ErrorBody(unsigned status, const HeaderView& headers) noexcept {  // NOLINT: text_ is set up to size_
  const std::size_t form = choose_media_type(headers, kForms);
  content_type_ = kTypes[form];
  const std::string_view phrase = reason_phrase(status);
  const auto length = static_cast<int>(phrase.size());
  int n = 0;
  if (form == 0) {
    n = std::snprintf(text_.data(), text_.size(), "%u %.*s\n", status, length, phrase.data());
  } else if (form == 1) {
    n = std::snprintf(text_.data(), text_.size(), "{\"type\":\"about:blank\",\"title\":\"%.*s\",\"status\":%u}\n",
                      length, phrase.data(), status);
  } else {
    n = std::snprintf(text_.data(), text_.size(),
                      "<!doctype html>\n<html lang=\"en\">\n<title>%u %.*s</title>\n<h1>%u %.*s</h1>\n</html>\n",
                      status, length, phrase.data(), status, length, phrase.data());
  }
  size_ = std::min(static_cast<std::size_t>(std::max(n, 0)), text_.size() - 1);
}

}  // namespace fiberd::http

#include "core/http/site/error_page.hpp"

#include <algorithm>
#include <span>

#include "core/http/negotiation.hpp"

namespace fiberd::http {

static constexpr std::array<std::string_view, 3> kForms{"text/plain", "application/problem+json", "text/html"};
static constexpr std::array<std::string_view, 3> kTypes{"text/plain; charset=utf-8", "application/problem+json",
                                                        "text/html; charset=utf-8"};

static constexpr std::string_view kRequestId = "${request_id}";
static constexpr std::string_view kTraceId = "${trace_id}";

bool names_requests(std::string_view page) noexcept {
  return page.find(kRequestId) != std::string_view::npos || page.find(kTraceId) != std::string_view::npos;
}

std::string fill_in(std::string_view page, const RequestNames& names) {
  std::string out;
  const auto put = [&](std::string_view variable, std::string_view name) {
    if (!page.starts_with(variable)) return false;
    out += name.empty() ? "-" : name;
    page.remove_prefix(variable.size());
    return true;
  };
  while (!page.empty()) {
    if (put(kRequestId, names.request_id) || put(kTraceId, names.trace_id)) continue;
    const std::size_t n = std::max<std::size_t>(std::min(page.find('$', 1), page.size()), 1);
    out += page.substr(0, n);
    page.remove_prefix(n);
  }
  return out;
}

namespace {

/// A text of a fixed size: what does not fit is cut.
class Text {
 public:
  explicit Text(std::span<char> room) noexcept : room_(room) {}
  Text& operator<<(std::string_view text) noexcept {
    const std::size_t n = std::min(text.size(), room_.size() - size_);
    std::copy_n(text.data(), n, room_.data() + size_);
    size_ += n;
    return *this;
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  std::span<char> room_;
  std::size_t size_ = 0;
};

}  // namespace

// Of names nothing need be escaped: request_id.hpp.
ErrorBody::ErrorBody(unsigned status, const HeaderView& headers, const RequestNames& names) noexcept {
  const std::size_t form = choose_media_type(headers, kForms);
  content_type_ = kTypes[form];
  const std::string_view phrase = reason_phrase(status);
  const char digits[3] = {static_cast<char>('0' + status / 100 % 10), static_cast<char>('0' + status / 10 % 10),
                          static_cast<char>('0' + status % 10)};
  const std::string_view code(digits, 3);
  Text out(text_);
  const auto name = [&](std::string_view before, std::string_view value, std::string_view behind) {
    if (!value.empty()) out << before << value << behind;
  };
  if (form == 0) {
    out << code << " " << phrase << "\n";
    name("request ", names.request_id, "\n");
    name("trace ", names.trace_id, "\n");
  } else if (form == 1) {
    out << "{\"type\":\"about:blank\",\"title\":\"" << phrase << "\",\"status\":" << code;
    name(",\"request_id\":\"", names.request_id, "\"");
    name(",\"trace_id\":\"", names.trace_id, "\"");
    out << "}\n";
  } else {
    out << "<!doctype html>\n<html lang=\"en\">\n<title>" << code << " " << phrase << "</title>\n<h1>" << code << " "
        << phrase << "</h1>\n";
    name("<p>request ", names.request_id, "</p>\n");
    name("<p>trace ", names.trace_id, "</p>\n");
    out << "</html>\n";
  }
  size_ = out.size();
}

}  // namespace fiberd::http

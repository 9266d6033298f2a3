#pragma once
// A head of fields, as the parser would leave it.
#include <string>
#include <utility>
#include <vector>

#include "core/http/message.hpp"

namespace http_test {

class Head {
 public:
  Head(std::initializer_list<std::pair<std::string, std::string>> fields) {
    for (const auto& [name, value] : fields) {
      const auto at = static_cast<std::uint32_t>(text_.size());
      const auto size = static_cast<std::uint32_t>(name.size());
      text_ += name + ": " + value;
      spans_.push_back({at, size, at + size + 2, static_cast<std::uint32_t>(value.size())});
    }
  }
  [[nodiscard]] fiberd::http::HeaderView view() const { return {text_.data(), spans_.data(), spans_.size()}; }

 private:
  std::string text_;
  std::vector<fiberd::http::FieldSpan> spans_;
};

}  // namespace http_test

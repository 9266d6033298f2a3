#include "core/http/errc.hpp"

#include <string>

namespace fiberd::http {

const std::error_category& http_category() noexcept {
  static const class HttpCategory final : public std::error_category {
   public:
    [[nodiscard]] const char* name() const noexcept override { return "fiberd.http"; }
    [[nodiscard]] std::string message(int value) const override {
      return static_cast<errc>(value) == errc::draining ? "the server is stopping" : "unknown";
    }
    [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override {
      if (static_cast<errc>(value) == errc::draining) return std::errc::operation_canceled;
      return {value, *this};
    }
  } instance;
  return instance;
}

}  // namespace fiberd::http

#pragma once
// RequestValues: what the variables of templates (variables.hpp) are for one request.
#include <string>

#include "core/http/exchange.hpp"
#include "core/http/variables.hpp"

namespace fiberd::http {

/// The slot in which the client_address filter leaves how the request came to us.
struct ViaProxy {
  bool trusted = false;       ///< a trusted proxy asked us
  std::string_view scheme{};  ///< by which it was asked; empty: it does not say
};

/// "http" or "https": by which the client asked, as far as we or a trusted proxy know.
[[nodiscard]] std::string_view scheme_of(const Exchange& exchange) noexcept;

/// On the stack of whoever renders. Must not outlive the exchange's serve().
class RequestValues final : public VariableSource {
 public:
  explicit RequestValues(const Exchange& exchange) noexcept : exchange_(exchange) {}
  [[nodiscard]] std::string_view value(std::uint8_t id, std::string_view argument) override;

 private:
  const Exchange& exchange_;
  std::string text_;
};

}  // namespace fiberd::http

#include "core/http/h2/code.hpp"

#include <string>

namespace fiberd::http::h2 {

static constexpr std::array<std::string_view, kCodes> kTokens{"no_error",
                                                              "protocol_error",
                                                              "internal_error",
                                                              "flow_control_error",
                                                              "settings_timeout",
                                                              "stream_closed",
                                                              "frame_size_error",
                                                              "refused_stream",
                                                              "cancel",
                                                              "compression_error",
                                                              "connect_error",
                                                              "enhance_your_calm",
                                                              "inadequate_security",
                                                              "http_1_1_required",
                                                              "other"};

std::string_view token_of(Code code) noexcept { return kTokens[static_cast<std::size_t>(code)]; }

namespace {

class ResetCategory final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "http2"; }
  [[nodiscard]] std::string message(int code) const override {
    return "the client has reset the stream: " + std::string(token_of(code_from(static_cast<std::uint32_t>(code))));
  }
  [[nodiscard]] std::error_condition default_error_condition(int /*code*/) const noexcept override {
    return std::make_error_condition(std::errc::connection_reset);
  }
};

}  // namespace

std::error_code reset_by_client(Code code) noexcept {
  static const ResetCategory category;
  return {static_cast<int>(code), category};
}

}  // namespace fiberd::http::h2

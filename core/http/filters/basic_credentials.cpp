#include "core/http/filters/basic_credentials.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

#include "core/http/characters.hpp"

namespace fiberd::http {
namespace {

constexpr std::array<std::int8_t, 256> make_base64() {
  std::array<std::int8_t, 256> table{};
  for (auto& value : table) value = -1;
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < digits.size(); ++i)
    table[static_cast<unsigned char>(digits[i])] = static_cast<std::int8_t>(i);
  return table;
}
constexpr std::array<std::int8_t, 256> kBase64 = make_base64();

/// False: not base64, or not the one spelling that its bytes have.
bool decode_base64(std::string_view text, std::string& out) {
  if (text.size() % 4 != 0) return false;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  text.remove_suffix(padding);
  std::uint32_t bits = 0;
  unsigned held = 0;
  for (const char c : text) {
    const std::int8_t value = kBase64[static_cast<unsigned char>(c)];
    if (value < 0) return false;
    bits = bits << 6U | static_cast<std::uint32_t>(value);
    held += 6;
    if (held < 8) continue;
    held -= 8;
    out += static_cast<char>(bits >> held & 255U);
    bits &= (1U << held) - 1;
  }
  return bits == 0;
}

bool has_control(std::string_view text) noexcept {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

}  // namespace

void Secret::wipe() noexcept {
  // To its capacity: of a short one the inner buffer, and what a move left behind.
  text_.resize(text_.capacity());
  ::explicit_bzero(text_.data(), text_.size());
  text_.clear();
}

Result<BasicCredentials> parse_basic_credentials(std::string_view authorization) {
  constexpr std::string_view kScheme = "basic";
  const std::size_t blank = std::min(authorization.find(' '), authorization.size());
  if (!equals_lower(authorization.substr(0, blank), kScheme)) return fail(std::errc::invalid_argument);
  const std::string_view encoded = trim(authorization.substr(blank));
  if (encoded.empty()) return fail(std::errc::invalid_argument);
  if (encoded.size() > (kMaxUser + 1 + kMaxPassword + 2) / 3 * 4) return fail(std::errc::message_size);
  std::string decoded;
  decoded.reserve(encoded.size() / 4 * 3);
  const bool is_base64 = decode_base64(encoded, decoded);
  const Secret whole(std::move(decoded));
  if (!is_base64) return fail(std::errc::invalid_argument);
  const std::size_t colon = whole.text().find(':');
  if (colon == std::string::npos || has_control(whole.text())) return fail(std::errc::invalid_argument);
  BasicCredentials credentials{whole.text().substr(0, colon), Secret(whole.text().substr(colon + 1))};
  if (credentials.user.size() > kMaxUser || credentials.password.text().size() > kMaxPassword)
    return fail(std::errc::message_size);
  return credentials;
}

}  // namespace fiberd::http

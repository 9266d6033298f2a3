#include "core/tls/jose.hpp"

#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <array>
#include <climits>
#include <cstdint>

#include "core/tls/key_handles.hpp"

namespace fiberd::tls {

namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

constexpr std::array<std::int8_t, 256> make_values() {
  std::array<std::int8_t, 256> values{};
  values.fill(-1);
  for (std::size_t i = 0; i < kAlphabet.size(); ++i)
    values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int8_t>(i);
  return values;
}
constexpr std::array<std::int8_t, 256> kValues = make_values();

std::string signed_part(std::string_view header, std::string_view payload) {
  return to_base64url(header) + "." + to_base64url(payload);
}

std::string flattened(std::string_view part, std::string_view signature) {
  const std::size_t dot = part.find('.');
  // All of it is base64url: nothing has to be escaped.
  std::string text = R"({"protected":")";
  text.append(part.substr(0, dot)).append(R"(","payload":")").append(part.substr(dot + 1));
  text.append(R"(","signature":")").append(to_base64url(signature)).append(R"("})");
  return text;
}

}  // namespace

std::string to_base64url(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() * 4 + 2) / 3);
  std::uint32_t held = 0;
  unsigned bits = 0;
  for (const char c : bytes) {
    held = (held << 8U) | static_cast<unsigned char>(c);
    for (bits += 8; bits >= 6; bits -= 6) text += kAlphabet[(held >> (bits - 6)) & 63U];
  }
  if (bits != 0) text += kAlphabet[(held << (6 - bits)) & 63U];
  return text;
}

Result<std::string> from_base64url(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size() * 3 / 4);
  std::uint32_t held = 0;
  unsigned bits = 0;
  for (const char c : text) {
    const std::int8_t value = kValues[static_cast<unsigned char>(c)];
    if (value < 0) return fail(std::errc::invalid_argument);
    held = (held << 6U) | static_cast<std::uint32_t>(value);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes += static_cast<char>((held >> bits) & 255U);
  }
  if (bits == 6 || (held & ((1U << bits) - 1U)) != 0) return fail(std::errc::invalid_argument);
  return bytes;
}

Result<std::string> sha256(std::string_view data) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  if (SHA256(reinterpret_cast<const unsigned char*>(data.data()), data.size(),
             reinterpret_cast<unsigned char*>(digest.data())) == nullptr)
    return fail(std::errc::not_enough_memory);
  return digest;
}

Result<std::string> hmac_sha256(std::string_view secret, std::string_view data) {
  const handles::Forgotten errors;
  std::string mac(SHA256_DIGEST_LENGTH, '\0');
  if (secret.size() > INT_MAX || HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
                                      reinterpret_cast<const unsigned char*>(data.data()), data.size(),
                                      reinterpret_cast<unsigned char*>(mac.data()), nullptr) == nullptr)
    return fail(std::errc::not_enough_memory);
  return mac;
}

Result<std::string> jwk(const PrivateKey& key) {
  const Result<std::string> point = key.public_point();
  if (!point) return fail(point.error());
  const std::string_view both = *point;
  return R"({"crv":"P-256","kty":"EC","x":")" + to_base64url(both.substr(0, both.size() / 2)) + R"(","y":")" +
         to_base64url(both.substr(both.size() / 2)) + R"("})";
}

Result<std::string> jwk_thumbprint(const PrivateKey& key) {
  const Result<std::string> text = jwk(key);
  if (!text) return fail(text.error());
  const Result<std::string> digest = sha256(*text);
  if (!digest) return fail(digest.error());
  return to_base64url(*digest);
}

Result<std::string> sign_jws(const PrivateKey& key, std::string_view header, std::string_view payload) {
  const std::string part = signed_part(header, payload);
  const Result<std::string> signature = key.sign(part);
  if (!signature) return fail(signature.error());
  return flattened(part, *signature);
}

Result<std::string> mac_jws(std::string_view secret, std::string_view header, std::string_view payload) {
  const std::string part = signed_part(header, payload);
  const Result<std::string> mac = hmac_sha256(secret, part);
  if (!mac) return fail(mac.error());
  return flattened(part, *mac);
}

}  // namespace fiberd::tls

// Signatures of RFC 8032, section 7.1, test 3.
#include "core/tls/ed25519.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace fiberd;

namespace {

const std::string kKey =
    "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VwAyEA/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU=\n"
    "-----END PUBLIC KEY-----\n";

std::string as_text(const std::string& hex) {
  std::string out;
  for (std::size_t i = 0; i < hex.size(); i += 2) out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return out;
}

const std::string kMessage = as_text("af82");
const std::string kSignature = as_text(
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a");

std::error_code verify(const std::string& key, const std::string& data, const std::string& signature) {
  return error_of(tls::verify_ed25519(key, std::as_bytes(std::span(data)), signature));
}

}  // namespace

TEST_CASE("a signature is good for its key and data alone", "[tls][ed25519]") {
  CHECK(!verify(kKey, kMessage, kSignature));
  CHECK(verify(kKey, as_text("af83"), kSignature) == std::errc::bad_message);
  CHECK(verify(kKey, "", kSignature) == std::errc::bad_message);
  for (const std::size_t at : {0U, 31U, 32U, 63U}) {
    std::string other = kSignature;
    other[at] = static_cast<char>(other[at] ^ 1);
    CHECK(verify(kKey, kMessage, other) == std::errc::bad_message);
  }
  CHECK(verify(kKey, kMessage, kSignature + "x") == std::errc::bad_message);
  CHECK(verify(kKey, kMessage, "") == std::errc::bad_message);
}

TEST_CASE("what is no Ed25519 public key is told so", "[tls][ed25519]") {
  CHECK(tls::check_ed25519_key(kKey).has_value());
  // A P-256 key.
  const std::string other =
      "-----BEGIN PUBLIC KEY-----\n"
      "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEoZ5Ua6+uVZow3adFOFOthUpgHqcG\n"
      "mssDrb/JfdBgJrCiM6qCDJFyrP806s0/wZC4NxjfLJ9z96/2kal1N3ch1w==\n"
      "-----END PUBLIC KEY-----\n";
  for (const std::string& key : {std::string(), std::string("key"), other, kKey.substr(0, 60)}) {
    CHECK(tls::check_ed25519_key(key).error() == std::errc::invalid_argument);
    CHECK(verify(key, kMessage, kSignature) == std::errc::invalid_argument);
  }
}

// Known answers: RFC 7515 appendices A.1 and A.3, RFC 7638 section 3.1, RFC 9773 section 4.1.
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <string>
#include <vector>

#include "core/tls/certificate_facts.hpp"
#include "core/tls/jose.hpp"
#include "core/tls/made_certificate.hpp"
#include "core/tls/private_key.hpp"

using namespace fiberd;

namespace {

// The key of RFC 7515 appendix A.3, as PKCS #8.
const std::string kRfcKey =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnGQmL+YBIff\n"
    "H1136cspYG6+0iY7X1fCE9+E9LKhRANCAAR/zc4ncPbEXUGDy+5v20t7WAczNXvp\n"
    "7xO6z248e9FURcfxRM0bvZt+hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt\n"
    "-----END PRIVATE KEY-----\n";

const std::string kP384 =
    "-----BEGIN EC PRIVATE KEY-----\n"
    "MIGkAgEBBDAAdieVNB0r3YVsc5rygttJ8WhnNBXbOImSDwDcXh2ZNLHc9BGdhSGE\n"
    "rMxGrR6DiKigBwYFK4EEACKhZANiAATBRpet/wLqp3v8CaK9MCD0zfn3trqmwPE0\n"
    "kszpgsJ1Rh1iEl/3/qdIECmnebK/YF8vKWxdFl1e7gjYAW8kTn6Jl56Zp5J4YxSD\n"
    "pZEfGliDjAP4bccECkzeQ4LrOJEDtx8=\n"
    "-----END EC PRIVATE KEY-----\n";

// Of example.com and 192.0.2.1, with the issuer's key and the serial number of RFC 9773's example.
const std::string kLeaf =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBfjCCASSgAwIBAgIFAIdlQyEwCgYIKoZIzj0EAwIwFTETMBEGA1UEAwwKRXhh\n"
    "bXBsZSBDQTAeFw0yNjExMzAxNjI3NDNaFw0zNjExMjcxNjI3NDNaMBYxFDASBgNV\n"
    "BAMMC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE6BWZ+lxU\n"
    "q2LxCKTzmOpB383MmF/gCgtR2/hxv+e5ew8o8xND9jvmMJejANZfi1Ccv0WoKdEi\n"
    "gwXoWq4QaUM2wKNgMF4wHAYDVR0RBBUwE4ILRXhhbXBsZS5jb22HBMAAAgEwHwYD\n"
    "VR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4ByNQwHQYDVR0OBBYEFBS+X4hL62X6\n"
    "9+V7kHmWyeb6FwPQMAoGCCqGSM49BAMCA0gAMEUCIFhlq+ZaJYtgEtbdo6CadL15\n"
    "WI/cDxjIQHBlXxpX848KAiEAjetD2wXEk2LNmScuFkmQGi//o5ih/ZPCaXBdVF+1\n"
    "9l0=\n"
    "-----END CERTIFICATE-----\n";

// What both examples sign.
const std::string kPayload =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

std::string raw(std::string_view base64url) { return tls::from_base64url(base64url).value(); }

std::string member(const std::string& json, const std::string& name) {
  const std::string key = "\"" + name + "\":\"";
  const std::size_t at = json.find(key);
  REQUIRE(at != std::string::npos);
  return json.substr(at + key.size(), json.find('"', at + key.size()) - at - key.size());
}

}  // namespace

TEST_CASE("base64url has one text for each sequence of bytes", "[tls][jose]") {
  CHECK(tls::to_base64url("") == "");
  CHECK(tls::to_base64url("f") == "Zg");
  CHECK(tls::to_base64url("fo") == "Zm8");
  CHECK(tls::to_base64url("foo") == "Zm9v");
  CHECK(tls::to_base64url("\xfb\xff\xfe") == "-__-");
  for (const char* const text : {"", "Zg", "Zm8", "Zm9v", "-__-"}) CHECK(tls::to_base64url(raw(text)) == text);
  for (const char* const text : {"Z", "Zh", "Zg==", "Zm9", "+//+", "Zm 8", "Zm8\n", "Zm9vZ"})
    CHECK(!tls::from_base64url(text));
}

TEST_CASE("ES256 signs as RFC 7515 A.3 has it", "[tls][jose]") {
  const auto key = tls::PrivateKey::from_pem(kRfcKey);
  REQUIRE(key);
  const std::string header = "eyJhbGciOiJFUzI1NiJ9";
  const std::string signature =
      raw("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
  CHECK(key->verifies(header + "." + kPayload, signature));
  CHECK_FALSE(key->verifies(header + ".x" + kPayload, signature));
  CHECK_FALSE(key->verifies(header + "." + kPayload, signature.substr(1)));
  CHECK_FALSE(key->verifies(header + "." + kPayload, std::string(64, '\0')));

  const auto jws = tls::sign_jws(*key, raw(header), raw(kPayload));
  REQUIRE(jws);
  CHECK(member(*jws, "protected") == header);
  CHECK(member(*jws, "payload") == kPayload);
  CHECK(key->verifies(header + "." + kPayload, raw(member(*jws, "signature"))));
}

TEST_CASE("HS256 is as RFC 7515 A.1 has it", "[tls][jose]") {
  const auto jws =
      tls::mac_jws(raw("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"),
                   raw("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"), raw(kPayload));
  REQUIRE(jws);
  CHECK(member(*jws, "protected") == "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9");
  CHECK(member(*jws, "signature") == "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
}

TEST_CASE("thumbprints are as RFC 7638 has them", "[tls][jose]") {
  const std::string rsa =
      R"({"e":"AQAB","kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"})";
  CHECK(tls::to_base64url(tls::sha256(rsa).value()) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
  const auto key = tls::PrivateKey::from_pem(kRfcKey);
  REQUIRE(key);
  CHECK(tls::jwk(*key).value() == R"({"crv":"P-256","kty":"EC","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",)"
                                  R"("y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})");
  CHECK(tls::jwk_thumbprint(*key).value() == "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
}

TEST_CASE("keys are P-256's and come back from their text", "[tls][keys]") {
  const auto key = tls::PrivateKey::make();
  REQUIRE(key);
  const auto again = tls::PrivateKey::from_pem(key->to_pem().value());
  REQUIRE(again);
  CHECK(again->public_point().value() == key->public_point().value());
  CHECK(again->verifies("data", key->sign("data").value()));
  CHECK_FALSE(tls::PrivateKey::make()->verifies("data", key->sign("data").value()));
  CHECK(error_of(tls::PrivateKey::from_pem(kP384)) == std::errc::invalid_argument);
  CHECK(error_of(tls::PrivateKey::from_pem("")) == std::errc::invalid_argument);
  CHECK(error_of(tls::PrivateKey::from_pem(kLeaf)) == std::errc::invalid_argument);
}

TEST_CASE("what a certificate says of itself", "[tls][certificate]") {
  const auto facts = tls::read_certificate_facts(kLeaf + kLeaf);
  REQUIRE(facts);
  CHECK(facts->not_before == 1'796'056'063);
  CHECK(facts->not_after == 2'111'416'063);
  CHECK(facts->names == std::vector<std::string>{"example.com", "192.0.2.1"});
  CHECK(facts->issuer == "Example CA");
  CHECK(facts->serial == "87654321");
  CHECK(facts->ari_id == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
  CHECK(facts->chain == 2);
  CHECK(!tls::read_certificate_facts(""));
  CHECK(!tls::read_certificate_facts(kRfcKey));
  CHECK(!tls::read_certificate_facts(kLeaf.substr(0, kLeaf.size() / 2)));
}

TEST_CASE("a certificate of one's own has its names, its days and its key", "[tls][certificate]") {
  const auto key = tls::PrivateKey::make();
  REQUIRE(key);
  const std::vector<std::string> names{"www.example.org", "*.example.org", "2001:db8::1"};
  const auto pem = tls::make_self_signed(*key, {names, 1'800'000'000, 1'800'086'400, {}});
  REQUIRE(pem);
  const auto facts = tls::read_certificate_facts(*pem);
  REQUIRE(facts);
  CHECK(facts->names == names);
  CHECK(facts->not_before == 1'800'000'000);
  CHECK(facts->not_after == 1'800'086'400);
  CHECK(facts->ari_id.empty());
  CHECK(tls::is_certificate_of(*pem, *key));
  CHECK_FALSE(tls::is_certificate_of(*pem, *tls::PrivateKey::make()));
  CHECK_FALSE(tls::is_certificate_of("", *key));
}

TEST_CASE("names that are none are in no certificate and in no request", "[tls][certificate]") {
  const auto key = tls::PrivateKey::make();
  REQUIRE(key);
  for (const std::string& name : {std::string(), std::string("a b"), std::string("a,DNS:b"), std::string("a\0b", 3),
                                  std::string("a\nb"), std::string(254, 'a')}) {
    const std::vector<std::string> names{"good.example", name};
    CHECK(error_of(tls::make_self_signed(*key, {names, 0, 1, {}})) == std::errc::invalid_argument);
    CHECK(error_of(tls::make_certificate_request(*key, names)) == std::errc::invalid_argument);
  }
  CHECK(error_of(tls::make_certificate_request(*key, {})) == std::errc::invalid_argument);
}

TEST_CASE("a certificate request is DER with its names, and the challenge certificate has its identifier",
          "[tls][certificate]") {
  const auto key = tls::PrivateKey::make();
  REQUIRE(key);
  const std::vector<std::string> names{"one.example", "two.example"};
  const auto der = tls::make_certificate_request(*key, names);
  REQUIRE(der);
  CHECK(der->front() == '\x30');
  for (const std::string& name : names) CHECK(der->find(name) != std::string::npos);
  // A name that no common name holds, and all of it in the alternative names.
  const std::vector<std::string> lengthy{std::string(60, 'a') + "." + std::string(60, 'b') + ".example"};
  CHECK(tls::make_certificate_request(*key, lengthy));
  CHECK(tls::make_self_signed(*key, {lengthy, 0, 1, {}}));

  const std::string digest = tls::sha256("token.thumbprint").value();
  const auto pem = tls::make_self_signed(*key, {{names.data(), 1}, 1'800'000'000, 1'800'086'400, digest});
  REQUIRE(pem);
  // Its DER: 1.3.6.1.5.5.7.1.31, critical, and an OCTET STRING in an OCTET STRING (RFC 8737 section 3).
  std::string body;
  for (const char c : pem->substr(pem->find('\n'), pem->find("-----END") - pem->find('\n')))
    if (c == '+') {
      body += '-';
    } else if (c == '/') {
      body += '_';
    } else if (c != '\n' && c != '=') {
      body += c;
    }
  const std::string extension("\x06\x08\x2b\x06\x01\x05\x05\x07\x01\x1f\x01\x01\xff\x04\x22\x04\x20", 17);
  CHECK(raw(body).find(extension + digest) != std::string::npos);
}

TEST_CASE("nobody is asked for the passphrase of what an authority hands out", "[tls][certificate]") {
  const std::string encrypted =
      "-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: "
      "AES-256-CBC,000102030405060708090A0B0C0D0E0F\n\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
      "-----END CERTIFICATE-----\n";
  // At a terminal, or without one on its standard input, OpenSSL would wait for somebody who types.
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    (void)::setsid();
    (void)::dup2(ends[0], 0);
    _exit(tls::read_certificate_facts(encrypted) || tls::is_certificate_of(encrypted, *tls::PrivateKey::make()) ? 1
                                                                                                                : 0);
  }
  int status = 0;
  pid_t ended = 0;
  for (int i = 0; i < 6000 && (ended = ::waitpid(child, &status, WNOHANG)) == 0; ++i) ::usleep(10'000);
  if (ended == 0) {  // other signals OpenSSL catches while it waits
    (void)::kill(child, SIGKILL);
    REQUIRE(::waitpid(child, &status, 0) == child);
  }
  ::close(ends[0]);
  ::close(ends[1]);
  CHECK(status == 0);
}

// What a client says first: records of any kind, or a hello that is one but for what it says of its name (SNI) and its
// protocols (ALPN). Whatever comes, the server shows the certificate that its table has for the name, or its first one;
// a challenge to nobody but who offers acme-tls/1 alone; a protocol that it has, and that was offered; and with strict
// SNI nobody gets in by a name that there is none of.
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/characters.hpp"
#include "core/tls/certificate_loader.hpp"
#include "core/tls/made_certificate.hpp"
#include "core/tls/server_context.hpp"
#include "tests/fuzz/check.hpp"

using namespace fiberd;

namespace {

std::shared_ptr<const tls::Certificate> made(const std::vector<std::string>& names) {
  const std::int64_t now = std::time(nullptr);
  const auto key = tls::PrivateKey::make();
  FUZZ_CHECK(key.has_value());
  const auto pem = tls::make_self_signed(*key, {names, now - 3600, now + 365LL * 86'400, {}});
  const auto text = key->to_pem();
  FUZZ_CHECK(pem.has_value() && text.has_value());
  tls::CertificateLoader loader;
  tls::CertificateFlaw why;
  auto one = loader.parse({"c", "k"}, *pem, *text, {}, now, why);
  FUZZ_CHECK(one.has_value());
  return std::move(*one);
}

struct Board final : tls::ChallengeSource {
  std::shared_ptr<const tls::Certificate> one = made({"proved.test"});
  [[nodiscard]] std::shared_ptr<const tls::Certificate> challenge(std::string_view name) const noexcept override {
    return name == "proved.test" ? one : nullptr;
  }
};

struct Servers {
  std::shared_ptr<Board> board = std::make_shared<Board>();
  std::array<std::shared_ptr<const tls::ServerContext>, 4> all;  // strict: 1, challenges: 2
  Servers() {
    const tls::CertificateTable::List list{made({"first.test"}), made({"a.test", "*.wild.test"})};
    for (std::size_t i = 0; i < all.size(); ++i) {
      std::string why;
      tls::ServerOptions options{.certificates = list, .alpn = {"h2", "http/1.1"}, .strict_sni = (i & 1U) != 0};
      options.tickets = *tls::TicketKeys::random();
      if ((i & 2U) != 0) options.challenges = board;
      auto context = tls::ServerContext::make(std::move(options), why);
      FUZZ_CHECK(context.has_value());
      all[i] = std::move(*context);
    }
  }
};

std::string sized(std::size_t bytes, std::string_view text) {
  std::string all;
  for (std::size_t i = bytes; i-- != 0;) all += static_cast<char>(text.size() >> (8 * i) & 255U);
  return all += text;
}

/// A hello with these two extensions' insides, in one record or in records of `cut` bytes.
std::string hello(std::string_view name, std::string_view protocols, bool newest, std::size_t cut) {
  const auto extension = [](unsigned type, std::string_view body) {
    return std::string{static_cast<char>(type >> 8U), static_cast<char>(type & 255U)} + sized(2, body);
  };
  std::string extensions = extension(0, name) + extension(16, protocols);
  extensions += extension(10, sized(2, std::string_view("\x00\x1d\x00\x17", 4)));
  extensions += extension(13, sized(2, std::string_view("\x04\x03\x08\x04\x04\x01", 6)));
  extensions += extension(11, std::string_view("\x01\x00", 2));
  if (newest) {
    extensions += extension(43, sized(1, std::string_view("\x03\x04", 2)));
    std::string point(32, '\x05');
    extensions += extension(51, sized(2, std::string("\x00\x1d", 2) + sized(2, point)));
  }
  std::string body("\x03\x03", 2);
  body += std::string(32, 'r') + sized(1, {});
  body += sized(2, std::string_view("\x13\x01\xc0\x2b", 4)) + sized(1, std::string_view("\x00", 1));
  body += sized(2, extensions);
  const std::string message = '\x01' + sized(3, body);
  std::string records;
  for (std::string_view rest = message; !rest.empty();) {
    const std::size_t n = std::min({rest.size(), cut, std::size_t{16'384}});
    records += std::string("\x16\x03\x01", 3) + sized(2, rest.substr(0, n));
    rest.remove_prefix(n);
  }
  return records;
}

struct FreeSession {
  void operator()(SSL* p) const noexcept { SSL_free(p); }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Servers servers;
  std::string_view input = fuzz::text(data, size);
  const std::uint64_t kind = fuzz::take(input, 1);
  const tls::ServerContext& context = *servers.all[kind & 3U];
  std::string bytes(input);
  if ((kind & 4U) != 0) {
    const std::size_t n = std::min<std::size_t>(fuzz::take(input, 1), input.size());
    bytes = hello(input.substr(0, n), input.substr(n), (kind & 8U) != 0, (kind & 16U) != 0 ? 7 : 16'384);
  }
  for (std::size_t i = 0; i < 2; ++i) {
    const std::string_view name = i == 0 ? std::string_view(input).substr(0, 300) : std::string_view("A.WILD.test.");
    std::string upper(name);
    for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
    FUZZ_CHECK(context.table().find(name) == context.table().find(upper));
  }
  const tls::SslHandle session = context.new_session();
  FUZZ_CHECK(session != nullptr);
  SSL* const ssl = session.get();
  BIO* const in = BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size()));
  BIO* const out = BIO_new(BIO_s_mem());
  BIO_set_mem_eof_return(in, -1);
  SSL_set_bio(ssl, in, out);
  const int done = SSL_accept(ssl);
  FUZZ_CHECK(done <= 0);  // nobody can prove that he has the keys
  char* answer = nullptr;
  const long answered = BIO_get_mem_data(out, &answer);
  // An answer that is a ServerHello: then a certificate was chosen.
  const bool greeted = answered > 6 && answer[0] == 0x16 && answer[5] == 0x02;
  const char* const said = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  const std::string_view name = said != nullptr ? std::string_view(said) : std::string_view();
  FUZZ_CHECK(name.size() <= 255 && name.find('\0') == std::string_view::npos);
  const unsigned char* protocol = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(ssl, &protocol, &length);
  const std::string_view chosen(reinterpret_cast<const char*>(protocol), length);
  FUZZ_CHECK(chosen.empty() || chosen == "h2" || chosen == "http/1.1" || chosen == tls::kAcmeProtocol);
  FUZZ_CHECK(chosen.empty() || bytes.find('\x03') != std::string::npos);
  if (!greeted) return 0;
  const X509* const shown = SSL_get_certificate(ssl);
  const bool challenged = shown == servers.board->one->leaf();
  FUZZ_CHECK(!challenged || ((kind & 2U) != 0 && name == "proved.test"));
  if (chosen == tls::kAcmeProtocol) FUZZ_CHECK(challenged);
  if (challenged) return 0;
  const tls::CertificateChoice* choice = context.table().find(name);
  FUZZ_CHECK(choice != nullptr || name.empty() || (kind & 1U) == 0);
  if (choice == nullptr) choice = &context.table().by_default();
  FUZZ_CHECK(choice->all().front()->leaf() == shown);
  return 0;
}

// Ten thousand certificates: how long they take, and what they weigh (docs/tls.md).
#include <unistd.h>
#include <catch2/catch.hpp>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <string>

#include "core/tls/certificate_loader.hpp"
#include "core/tls/server_context.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/tls_handshake.hpp"

using namespace fiberd;

namespace {

std::int64_t resident_bytes() {
  std::ifstream in("/proc/self/statm");
  std::int64_t all = 0;
  std::int64_t resident = 0;
  in >> all >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

}  // namespace

TEST_CASE("ten thousand certificates are read, and one of them is swapped", "[tls][.nightly]") {
  static constexpr int kCount = 10'000;
  const test::TestAuthority root;
  const auto issuer = root.below("issuer");
  std::vector<test::MadePair> pairs;
  for (int i = 0; i < kCount; ++i)
    pairs.push_back(
        issuer->issue({.names = {"n" + std::to_string(i) + ".example.org", "www.n" + std::to_string(i) + ".org"}}));
  // Of CPU: what others have of the machine meanwhile says nothing.
  const auto ms = [](std::clock_t since) {
    return 1000.0 * static_cast<double>(std::clock() - since) / CLOCKS_PER_SEC;
  };
  tls::CertificateLoader loader;
  tls::CertificateFlaw why;
  const auto load = [&](const test::MadePair& pair) {
    auto made = loader.parse({"a.pem", "a.key"}, pair.certificate, pair.key, {}, std::time(nullptr), why);
    if (!made) throw std::runtime_error(why.text);
    return *made;
  };
  const std::int64_t before = resident_bytes();
  const auto began = std::clock();
  tls::CertificateTable::List list;
  for (const test::MadePair& pair : pairs) list.push_back(load(pair));
  std::string text;
  auto context = tls::ServerContext::make({.certificates = list}, text).value();
  const double start = ms(began);
  const double weight = static_cast<double>(resident_bytes() - before) / kCount;
  const test::MadePair fresh = issuer->issue({.names = {"fresh.example.org"}});
  const auto swapping = std::clock();
  tls::CertificateTable::List next = context->options().certificates;
  next[5000] = load(fresh);
  const auto swapped = context->with_certificates(std::move(next), text).value();
  const double swap = ms(swapping);
  std::printf("10,000 certificates: %.0f ms to read, %.0f bytes each, %.1f ms to swap one\n", start, weight, swap);
  for (const char* name : {"n0.example.org", "www.n9999.org"}) {
    const tls::SslHandle session = swapped->new_session();
    CHECK(test::shake_hands(*session, {.server_name = name}).names.find(name) != std::string::npos);
  }
  const tls::SslHandle session = swapped->new_session();
  CHECK(test::shake_hands(*session, {.server_name = "fresh.example.org"}).names == "fresh.example.org");
  CHECK(swapped->table().find("n5000.example.org") == nullptr);
  CHECK(context->table().find("n5000.example.org") != nullptr);
}

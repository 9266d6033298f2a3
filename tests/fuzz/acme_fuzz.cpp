// Answers of certificate authorities: whatever they are, what is taken of them is bounded, can be asked, and may stand
// in a log; and a certificate that is read says the same when it is read again.
#include <algorithm>

#include "core/tls/certificate_facts.hpp"
#include "core/tls/jose.hpp"
#include "daemon/acme/answers.hpp"
#include "tests/fuzz/check.hpp"

using namespace fiberd;
using namespace fiberd::daemon;

namespace {

bool fit_for_log(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80 ? c >= 0x20 && c != 0x7f : true; });
}

void check_problem(const acme::Problem& problem) {
  FUZZ_CHECK(fit_for_log(problem.type) && fit_for_log(problem.detail));
  FUZZ_CHECK(problem.type.size() < 512 && problem.detail.size() < 4096);
}

void check_url(const std::string& url) { FUZZ_CHECK(url.empty() || acme::is_url(url, "https://")); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::text(data, size);
  if (const auto d = acme::read_directory(text, "https://")) {
    for (const std::string* url : {&d->new_nonce, &d->new_account, &d->new_order}) FUZZ_CHECK(!url->empty());
    for (const std::string* url : {&d->new_nonce, &d->new_account, &d->new_order, &d->renewal_info}) check_url(*url);
    for (const std::string& name : d->profiles) FUZZ_CHECK(fit_for_log(name));
  }
  if (const auto order = acme::read_order(text, "https://")) {
    FUZZ_CHECK(!order->finalize.empty() && order->authorizations.size() <= 128);
    for (const std::string& url : order->authorizations) check_url(url);
    check_url(order->certificate);
    check_problem(order->error);
  }
  if (const auto authorization = acme::read_authorization(text, "https://")) {
    FUZZ_CHECK(fit_for_log(authorization->name) && authorization->challenges.size() <= 128);
    for (const auto& one : authorization->challenges) {
      FUZZ_CHECK(acme::is_base64url(one.token) && fit_for_log(one.type));
      check_url(one.url);
      check_problem(one.error);
    }
  }
  if (const auto window = acme::read_renewal_window(text)) FUZZ_CHECK(window->start < window->end);
  check_problem(acme::read_problem(text));
  if (const auto facts = tls::read_certificate_facts(text)) {
    FUZZ_CHECK(facts->chain >= 1 && facts->chain <= 16);
    const auto again = tls::read_certificate_facts(text);
    FUZZ_CHECK(again && again->names == facts->names && again->ari_id == facts->ari_id);
  }
  if (const auto bytes = tls::from_base64url(text)) FUZZ_CHECK(tls::to_base64url(*bytes) == text);
  return 0;
}

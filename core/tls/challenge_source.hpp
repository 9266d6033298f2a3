#pragma once
// ChallengeSource: certificates that prove names to an authority that looks (tls-alpn-01, RFC 8737): shown to who
// offers "acme-tls/1" and nothing else, and to nobody else.
#include <memory>
#include <string_view>

#include "core/tls/certificate.hpp"

namespace fiberd::tls {

inline constexpr std::string_view kAcmeProtocol = "acme-tls/1";

class ChallengeSource {
 public:
  ChallengeSource() = default;
  ChallengeSource(const ChallengeSource&) = delete;
  ChallengeSource& operator=(const ChallengeSource&) = delete;
  virtual ~ChallengeSource() = default;
  /// The one that proves `name`, as the client says it; null: none is asked for at present. Any thread; never parks.
  [[nodiscard]] virtual std::shared_ptr<const Certificate> challenge(std::string_view name) const noexcept = 0;
};

}  // namespace fiberd::tls

#pragma once
// Authority: one certificate authority as a client sees it (RFC 8555): its directory, nonces, an account, and messages
// signed by the account's key. What is done with them: order.hpp.
//
// Each answer brings the nonce of the next message. A server may refuse one (badNonce) at any time; the message is then
// signed anew with the nonce of that very refusal (section 6.5), a few times. Redirects are not followed, answers are
// bounded, and every URL has the directory's scheme.
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/context/context.hpp"
#include "core/http/client/client.hpp"
#include "core/metric/metrics.hpp"
#include "core/tls/private_key.hpp"
#include "daemon/acme/answers.hpp"
#include "daemon/acme/trouble.hpp"

namespace fiberd::daemon::acme {

/// What binds an account to one that exists elsewhere (section 7.3.4).
struct ExternalAccount {
  std::string key_id;  ///< empty: none
  std::string secret;  ///< as bytes
};

struct AccountWish {
  std::string email;  ///< empty: none is said
  ExternalAccount external{};
};

/// Used by one fiber at a time. `http` must outlive it.
class Authority {
 public:
  static constexpr unsigned kTries = 8;  ///< of a message whose nonce is refused

  Authority(http::Client& http, std::string directory_url, tls::PrivateKey account_key,
            metric::Counter* bad_nonces = nullptr);

  /// The directory, asked for once.
  [[nodiscard]] Outcome<const Directory*> directory(const context::Context& ctx);
  /// The account of the key: made, or found. `known`: its URL from earlier, which is believed; empty: none. Its URL.
  [[nodiscard]] Outcome<std::string> enter(const context::Context& ctx, const AccountWish& wish,
                                           const std::string& known);
  [[nodiscard]] const std::string& account() const noexcept { return account_; }
  [[nodiscard]] const std::string& scheme() const noexcept { return scheme_; }
  [[nodiscard]] const tls::PrivateKey& key() const noexcept { return key_; }

  struct Answer {
    unsigned status = 0;
    std::string body;
    std::string location;
    std::optional<std::chrono::seconds> retry_after{};
  };
  /// A signed message by the account; `payload` empty: POST-as-GET (section 6.3). Success: 2xx.
  [[nodiscard]] Outcome<Answer> post(const context::Context& ctx, const std::string& url, std::string_view payload);
  /// Unsigned.
  [[nodiscard]] Outcome<Answer> get(const context::Context& ctx, const std::string& url);

 private:
  enum class Signer : std::uint8_t { key, account };
  [[nodiscard]] Outcome<Answer> post_as(const context::Context& ctx, const std::string& url, std::string_view payload,
                                        Signer signer);
  [[nodiscard]] Outcome<void> fetch_nonce(const context::Context& ctx);
  [[nodiscard]] Outcome<Answer> send(const context::Context& ctx, const http::ClientRequest& request);
  [[nodiscard]] Outcome<std::string> binding(const ExternalAccount& external) const;

  http::Client& http_;
  const std::string directory_url_;
  const std::string scheme_;
  const tls::PrivateKey key_;
  metric::Counter* const bad_nonces_;
  std::optional<Directory> directory_;
  std::string account_;
  std::string nonce_;
};

}  // namespace fiberd::daemon::acme

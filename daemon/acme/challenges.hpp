#pragma once
// Challenges: what is shown to an authority that looks, while an order is under way: answers to http-01 (RFC 8555
// section 8.3), for the filter on plain listeners, and certificates for tls-alpn-01 (RFC 8737), for TLS listeners. As
// many as orders are under way, and those are bounded. What this process does not know is looked for in the state
// directories of its configurations: another one's order may be under way (shared_challenges.hpp).
#include <atomic>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/lock.hpp"
#include "core/flow/token_bucket.hpp"
#include "core/http/filter.hpp"
#include "core/tls/challenge_source.hpp"
#include "daemon/acme/order.hpp"

namespace fiberd::daemon::acme {

inline constexpr std::string_view kWellKnown = "/.well-known/acme-challenge/";

/// Any thread; never parks.
class Challenges final : public tls::ChallengeSource {
 public:
  static constexpr std::size_t kMost = 256;  ///< of each kind

  /// False: there are too many.
  [[nodiscard]] bool put_http(const std::string& token, const std::string& key_authorization);
  void take_http(const std::string& token) noexcept;
  /// What is answered to whoever asks for this token.
  [[nodiscard]] std::optional<std::string> http(std::string_view token) const;
  [[nodiscard]] bool any_http() const noexcept { return http_count_.load(std::memory_order_relaxed) != 0; }

  /// From now on what is not known here is looked for in this state directory, too; at most kMostShared. Throws
  /// std::bad_alloc.
  void share(const std::string& storage);
  [[nodiscard]] bool is_shared() const noexcept { return shared_count_.load(std::memory_order_relaxed) != 0; }
  /// What another process answers for this token. Blocks the thread.
  [[nodiscard]] std::optional<std::string> shared_http(std::string_view token) const;

  /// PEM: a certificate and its key.
  struct Pair {
    std::string certificate;
    std::string key;
  };
  /// Blocks for a fraction of a millisecond. False: also when it is no pair.
  [[nodiscard]] bool put_tls(const std::string& name, Pair pair);
  /// What another process shows is read in place, by a handshake that cannot wait: twenty a second at most, whoever
  /// asks.
  [[nodiscard]] std::shared_ptr<const tls::Certificate> challenge(std::string_view name) const noexcept override;
  void take_tls(const std::string& name) noexcept;
  [[nodiscard]] std::optional<Pair> tls(std::string_view name) const;

 private:
  static constexpr std::size_t kMostShared = 64;
  [[nodiscard]] std::vector<std::string> shared() const;
  [[nodiscard]] std::shared_ptr<const tls::Certificate> shared_challenge(std::string_view name) const;

  mutable Lock lock_;
  std::vector<std::string> shared_ FIBERD_GUARDED_BY(lock_);
  std::atomic<std::size_t> shared_count_{0};
  mutable flow::TokenBucket looks_{20, 20};
  std::map<std::string, std::string, std::less<>> http_ FIBERD_GUARDED_BY(lock_);
  struct Shown {
    Pair pair;
    std::shared_ptr<const tls::Certificate> certificate;
  };
  std::map<std::string, Shown, std::less<>> tls_ FIBERD_GUARDED_BY(lock_);
  std::atomic<std::size_t> http_count_{0};
};

/// The certificate that proves `name` by tls-alpn-01.
[[nodiscard]] Outcome<Challenges::Pair> make_tls_alpn_pair(const std::string& name,
                                                           const std::string& key_authorization);

/// Answers for tokens that are known, before all routes; everything else goes on.
class HttpChallengeFilter final : public http::Filter {
 public:
  explicit HttpChallengeFilter(std::shared_ptr<const Challenges> challenges) : challenges_(std::move(challenges)) {}
  Result<void> serve(http::Exchange& exchange, http::Next next) override;

 private:
  const std::shared_ptr<const Challenges> challenges_;
};

/// Proves by what this process answers, and dns-01 by a program:
///   PROGRAM present|cleanup _acme-challenge.NAME VALUE
class OwnProver final : public Prover {
 public:
  struct Ways {
    bool http = false;
    bool tls_alpn = false;
    std::string dns_program;  ///< empty: none
  };
  /// `storage`: the state directory by which other processes are told; empty: nobody is.
  OwnProver(Challenges& challenges, Ways ways, std::string storage = {})
      : challenges_(challenges), ways_(std::move(ways)), storage_(std::move(storage)) {}
  [[nodiscard]] std::string choose(const Authorization& of) const override;
  [[nodiscard]] Outcome<void> present(const context::Context& ctx, const std::string& type, const std::string& name,
                                      const std::string& token, const std::string& key_authorization) override;
  void retract(const std::string& type, const std::string& name, const std::string& token,
               const std::string& key_authorization) noexcept override;

 private:
  void tell_others(std::string_view kind, const std::string& of, const std::string& text) const;
  void take_from_others(std::string_view kind, const std::string& of) const noexcept;
  Challenges& challenges_;
  const Ways ways_;
  const std::string storage_;
};

}  // namespace fiberd::daemon::acme

#pragma once
// obtain(): from names to a certificate, by one order (RFC 8555 section 7.4): authorizations, one challenge each,
// finalize, download. What comes back is looked at before anybody gets it: whether it is for the key that was made for
// it, for all of the names, and for now.
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/context/context.hpp"
#include "daemon/acme/authority.hpp"

namespace fiberd::daemon::acme {

/// How a name is proved. On a fiber; all may wait under the context.
class Prover {
 public:
  Prover() = default;
  Prover(const Prover&) = delete;
  Prover& operator=(const Prover&) = delete;
  virtual ~Prover() = default;
  /// "http-01", "tls-alpn-01", "dns-01": the one to be used of those that are offered; empty: none of them.
  [[nodiscard]] virtual std::string choose(const Authorization& of) const = 0;
  /// From now on the authority may look. `key_authorization`: token "." thumbprint.
  [[nodiscard]] virtual Outcome<void> present(const context::Context& ctx, const std::string& type,
                                              const std::string& name, const std::string& token,
                                              const std::string& key_authorization) = 0;
  /// It has looked, or never will.
  virtual void retract(const std::string& type, const std::string& name, const std::string& token,
                       const std::string& key_authorization) noexcept = 0;
};

struct OrderWish {
  std::vector<std::string> names;
  std::string profile;   ///< empty: the authority's own
  std::string replaces;  ///< the ARI id of the certificate before; empty: none
};

/// Seconds between two looks at what the authority is doing, where it says nothing.
inline constexpr std::chrono::seconds kFirstLook{1};
inline constexpr std::chrono::seconds kLongestLook{10};
/// How long to wait for one thing that the authority is doing: a little longer each time, at most kLongestLook, unless
/// it asks for more itself. Each thing anew: of a hundred names that are proved one after the other each would else be
/// waited for as long as for the slowest, and the order be over before them.
class Pace {
 public:
  explicit Pace(std::chrono::nanoseconds first) noexcept : first_(first), next_(first) {}
  void begin() noexcept { next_ = first_; }
  /// `asked`: what the authority says.
  [[nodiscard]] std::chrono::nanoseconds next(std::chrono::nanoseconds asked) noexcept;

 private:
  const std::chrono::nanoseconds first_;
  std::chrono::nanoseconds next_;
};
/// For a whole order.
inline constexpr std::chrono::minutes kOrderPatience{10};

struct Issued {
  std::string chain;  ///< PEM, the certificate first
  std::string key;    ///< PEM
};

/// `pace`: the first wait between two looks. The authority must have been entered.
[[nodiscard]] Outcome<Issued> obtain(const context::Context& ctx, Authority& authority, const OrderWish& wish,
                                     Prover& prover, std::chrono::nanoseconds pace = kFirstLook);

/// Whether `chain` is what was asked for: empty, or why it is not. `now`: seconds of the epoch.
[[nodiscard]] std::string why_not(const std::string& chain, const tls::PrivateKey& key,
                                  const std::vector<std::string>& names, std::int64_t now);

}  // namespace fiberd::daemon::acme

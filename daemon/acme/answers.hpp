#pragma once
// What certificate authorities answer (RFC 8555 section 7.1, RFC 7807, RFC 9773), read from JSON that may be anything.
// What is taken over is bounded and of the form that it should have: URLs that the client can ask, tokens that may
// stand in a path, texts as they may stand in a log. Pure functions; none throws anything but std::bad_alloc.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fiberd::daemon::acme {

inline constexpr std::size_t kMostDocument = std::size_t{256} * 1024;  ///< bytes of any answer

/// urn:ietf:params:acme:error:…, and what it says.
struct Problem {
  std::string type;    ///< without the prefix: "badNonce"; empty: it said none, or another kind
  std::string detail;  ///< printable; that of the parts behind it
  bool operator==(const Problem&) const = default;
};

struct Directory {
  std::string new_nonce;
  std::string new_account;
  std::string new_order;
  std::string renewal_info;           ///< empty: it has none
  std::vector<std::string> profiles;  ///< names
  bool external_account_required = false;
};

enum class Status : std::uint8_t { pending, ready, processing, valid, invalid, other };

struct Order {
  Status status = Status::other;
  std::vector<std::string> authorizations;
  std::string finalize;
  std::string certificate;  ///< once valid
  Problem error;
};

struct Challenge {
  std::string type;
  std::string url;
  std::string token;  ///< base64url
  Status status = Status::other;
  Problem error;
};

struct Authorization {
  Status status = Status::other;
  std::string name;
  bool wildcard = false;
  std::vector<Challenge> challenges;  ///< those of which all is there
  /// The first that one of them says.
  [[nodiscard]] const Problem* error() const noexcept;
};

/// When to renew (RFC 9773 section 4.2), seconds of the epoch.
struct RenewalWindow {
  std::int64_t start = 0;
  std::int64_t end = 0;
};

// nullopt: it is not what it should be. `scheme` ("https://") is that of every URL in it.
[[nodiscard]] std::optional<Directory> read_directory(std::string_view body, std::string_view scheme);
[[nodiscard]] std::optional<Order> read_order(std::string_view body, std::string_view scheme);
[[nodiscard]] std::optional<Authorization> read_authorization(std::string_view body, std::string_view scheme);
[[nodiscard]] std::optional<RenewalWindow> read_renewal_window(std::string_view body);
/// Of an account: whether it is one (section 7.1.6).
[[nodiscard]] bool is_valid_account(std::string_view body);
/// Of anything; empty where it says nothing.
[[nodiscard]] Problem read_problem(std::string_view body);

/// Whether it may be asked and told: that scheme, a host, no user, at most 2048 bytes.
[[nodiscard]] bool is_url(std::string_view text, std::string_view scheme) noexcept;
/// base64url, 1 … 256 bytes: of a nonce and of a token.
[[nodiscard]] bool is_base64url(std::string_view text) noexcept;
/// "2026-11-30T16:29:25Z", with fractions and offsets (RFC 3339), as seconds of the epoch.
[[nodiscard]] std::optional<std::int64_t> parse_rfc3339(std::string_view text) noexcept;

}  // namespace fiberd::daemon::acme

#pragma once
// Why a certificate was not had: for the log, for counters, and for when to try again.
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/result.hpp"

namespace fiberd::daemon::acme {

enum class Reason : std::uint8_t {
  unreachable,   ///< no answer: network, time-out, TLS
  busy,          ///< 5xx
  rate_limited,  ///< 429, or urn:…:rateLimited
  account,       ///< the account is not (any more) one, or needs what it was not given
  challenge,     ///< the authority could not convince itself of a name
  refused,       ///< it does not want to
  nonsense,      ///< what it answered is not ACME, or not what was asked for
  storage,       ///< the state directory, a key, a hook program: our side
  canceled,
  count_
};
[[nodiscard]] constexpr std::string_view token_of(Reason reason) noexcept {
  switch (reason) {
    case Reason::unreachable: return "unreachable";
    case Reason::busy: return "busy";
    case Reason::rate_limited: return "rate_limited";
    case Reason::account: return "account";
    case Reason::challenge: return "challenge";
    case Reason::refused: return "refused";
    case Reason::nonsense: return "nonsense";
    case Reason::storage: return "storage";
    case Reason::canceled:
    case Reason::count_: break;
  }
  return "canceled";
}

struct Trouble {
  Reason reason = Reason::nonsense;
  std::string what;                                   ///< one line, printable
  std::string problem{};                              ///< "badNonce", "accountDoesNotExist", …; empty: none was named
  std::optional<std::chrono::seconds> retry_after{};  ///< it asked for at least that
};

template <class T>
using Outcome = tl::expected<T, Trouble>;

[[nodiscard]] inline tl::unexpected<Trouble> give_up(Reason reason, std::string what) {
  return tl::unexpected<Trouble>(Trouble{reason, std::move(what)});
}
[[nodiscard]] inline tl::unexpected<Trouble> give_up(Trouble trouble) {
  return tl::unexpected<Trouble>(std::move(trouble));
}

}  // namespace fiberd::daemon::acme

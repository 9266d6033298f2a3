#pragma once
// Resolver: names to addresses, by c-ares on the Poller. How: resolver.cpp.
#include <chrono>
#include <cstdint>
#include <string_view>
#include <system_error>
#include <vector>

#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/net/endpoint.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::net {

/// What the name service said. timed_out (no server answered) and not_enough_memory are std::errc.
enum class ResolveErrc {
  not_found = 1,   ///< the name does not exist (RFC 1035 §4.1.1, NXDOMAIN)
  no_address,      ///< the name exists but has no address of the family asked for
  bad_name,        ///< not a name that DNS can carry (RFC 1035 §2.3.4)
  server_failure,  ///< every server answered SERVFAIL, NOTIMP or REFUSED, or none listens
  bad_response,    ///< what came back is not an answer
  failed,          ///< anything else
};
[[nodiscard]] const std::error_category& resolve_category() noexcept;
[[nodiscard]] inline std::error_code make_error_code(ResolveErrc code) noexcept {
  return {static_cast<int>(code), resolve_category()};
}

enum class AddressFamily : std::uint8_t { any, v4, v6 };

struct ResolverOptions {
  std::vector<Endpoint> servers;  ///< IPv4, IPv6; empty: /etc/resolv.conf
  std::chrono::milliseconds timeout =
      std::chrono::seconds(2);  ///< of the first try at a server, 1 ms …; later ones double
  int tries = 3;                ///< at each server, 1 … 10
};

/// Thread-safe; any number of look-ups may go on at once and none waits for another.
class Resolver {
 public:
  explicit Resolver(ResolverOptions options = {});

  /// The addresses of `host` with `port`, best first (RFC 6724), at most 256. `host`: an IPv4 or IPv6 address (with or
  /// without brackets; no question is asked), a name of /etc/hosts, or of the DNS. On a fiber; obeys the deadline and
  /// the cancellation at once. Errors: timed_out, operation_canceled, ResolveErrc, those of socket(2) and epoll_ctl(2).
  [[nodiscard]] Result<std::vector<Endpoint>> resolve(std::string_view host, std::uint16_t port,
                                                      Deadline deadline = Deadline::never(),
                                                      runtime::Cancellation* cancellation = nullptr,
                                                      AddressFamily family = AddressFamily::any) const;
  /// The same under a context: context::errc::canceled and deadline_exceeded are its own, timed_out is `own`'s or that
  /// no server answered. One that is done asks nobody.
  [[nodiscard]] Result<std::vector<Endpoint>> resolve(const context::Context& ctx, std::string_view host,
                                                      std::uint16_t port, AddressFamily family = AddressFamily::any,
                                                      Deadline own = Deadline::never()) const;

 private:
  ResolverOptions options_;
};

}  // namespace fiberd::net

template <>
struct std::is_error_code_enum<fiberd::net::ResolveErrc> : std::true_type {};

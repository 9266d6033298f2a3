#pragma once
// The client's address behind proxies: what X-Forwarded-For and Forwarded (RFC 7239) tell, believed as far as the
// proxies that told it are trusted.
//
// Each proxy appends the address it was asked from, so the last element is from the proxy that asked us. We go from the
// right: as long as the address in hand is a trusted proxy's, the element to the left of it was written by that proxy
// and is right; the first one that is not trusted is the client, and what stands to the left of it was written by
// nobody knows whom and is never read. So nobody but a trusted proxy can choose an address, and 10,000 made-up elements
// cost nothing.
//
// Decisions
//  - One field, which the operator names: X-Forwarded-For unless Forwarded is said. A proxy that writes one of them
//  passes
//    the other on as the client sent it; whoever reads both reads what the client wrote.
//  - What cannot be read as an address (RFC 7239's "unknown" and "_hidden" among it) ends the walk: the client is
//  whoever
//    was known last, a proxy. Empty elements are skipped.
//  - All trusted: the leftmost address.
//  - Forwarded is walked from the right too, over quoted strings. Walked from the left, a client's unclosed quote would
//    swallow what the proxies wrote behind it.
//  - A port is kept where there is one, else it is 0.
#include <string_view>

#include "core/http/message.hpp"
#include "core/net/address_ranges.hpp"
#include "core/net/endpoint.hpp"

namespace fiberd::http {

enum class ForwardedField : std::uint8_t { x_forwarded_for, forwarded };

/// Who asks. `peer` is who connected; when it is not in `trusted` the fields are not looked at. Time linear in what of
/// the fields is read, no allocation.
[[nodiscard]] net::Endpoint client_address(const net::Endpoint& peer, const HeaderView& headers,
                                           const net::AddressRanges& trusted,
                                           ForwardedField field = ForwardedField::x_forwarded_for) noexcept;

/// The scheme by which the client asked the proxy that asked us, as that one tells (X-Forwarded-Proto, or proto= of
/// Forwarded): "http" or "https"; empty when it does not, or `peer` is not in `trusted`. Static storage.
[[nodiscard]] std::string_view client_scheme(const net::Endpoint& peer, const HeaderView& headers,
                                             const net::AddressRanges& trusted,
                                             ForwardedField field = ForwardedField::x_forwarded_for) noexcept;

/// An address as these fields write it: "192.0.2.1", "192.0.2.1:4711", "2001:db8::1", "[2001:db8::1]",
/// "[2001:db8::1]:4711"; unspecified when it is none.
[[nodiscard]] net::Endpoint parse_node(std::string_view text) noexcept;

}  // namespace fiberd::http

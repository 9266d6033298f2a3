#pragma once
// What the peer's certificate says of it, for net::TlsPeer.
#include "core/net/tls_peer.hpp"

struct ssl_st;

namespace fiberd::tls {

/// Fills subject, names and fingerprint of a certificate that was shown (now, or when the session began that is
/// resumed) and was proved to be good; else they stay empty. Throws std::bad_alloc.
void read_peer_certificate(const ssl_st& session, net::TlsPeer& peer);

}  // namespace fiberd::tls

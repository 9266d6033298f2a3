#pragma once
// Sessions of connections to servers, to be resumed by the next one to the same name: a round of signatures and
// certificates less. They live in the context that proved the server's name, and are offered under that name alone.
//
// A ticket of TLS 1.3 is used once (RFC 8446 appendix C.4), so a name has a few of them, and whoever takes one takes it
// away; a session of TLS 1.2 stays. Bounded: the names that were heard of last.
#include <string>

struct ssl_ctx_st;
struct ssl_st;

namespace fiberd::tls {

/// From now on sessions of this context's connections are kept. False: memory is out.
[[nodiscard]] bool keep_sessions(ssl_ctx_st& context) noexcept;
/// Of a connection before its handshake: it is to a server of this name, and goes on with a session if there is one.
void offer_session(ssl_st& connection, const std::string& name) noexcept;

}  // namespace fiberd::tls

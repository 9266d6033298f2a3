#pragma once
// What a listening socket owes its clients when it is about to close: those whose handshake the kernel has begun.
#include <cstdint>

#include "core/base/result.hpp"

namespace fiberd::net {

/// The socket lets no further handshake begin: a SYN is dropped, and the client's repetition (a second later) meets
/// whoever listens then, or a refusal. Handshakes under way go on. Linux: a classic BPF filter.
[[nodiscard, gnu::noinline]] std::error_code refuse_new_handshakes(int fd) noexcept;

/// Handshakes of the local TCP port `port`, of any address, that are not finished: by a client's last acknowledgement,
/// or with TCP_DEFER_ACCEPT by its first bytes. Counts to `most`. Errors: what netlink (sock_diag) said. Does not park.
[[nodiscard, gnu::noinline]] Result<unsigned> pending_handshakes(std::uint16_t port, unsigned most = 1) noexcept;

}  // namespace fiberd::net

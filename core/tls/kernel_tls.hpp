#pragma once
// Records made by the kernel (its module "tls", kTLS): what is written to a socket once it has the keys is encrypted
// there, and a file goes out by sendfile without being read. Writing only: reading stays OpenSSL's, which has to look
// at alerts, new keys and tickets.
//
// OpenSSL hands the keys over through the BIO when the handshake's last message has gone (socket_bio.cpp), if the
// kernel knows the cipher. From then on a Stream writes as a socket does: there are no records to be gone on with. What
// OpenSSL still sends by itself (tickets, close_notify) goes with its type beside it. A client that asks for new keys
// (KeyUpdate) ends the connection: kernels before 6.14 keep theirs.
#include <sys/types.h>

#include <string_view>

namespace fiberd::tls {

/// Whether the kernel can: asked once. May have it load the module.
[[nodiscard]] bool kernel_has_tls() noexcept;
/// Why not, as the system says it; empty when it can.
[[nodiscard]] std::string_view why_no_kernel_tls() noexcept;

// Leaf functions, as core/net/system_calls.hpp has them.
/// Gives `fd` the keys, as OpenSSL passes them to its BIO. False: it goes on without.
[[nodiscard, gnu::noinline]] bool give_keys_to_kernel(int fd, const void* keys) noexcept;
/// A record of another type than data. Returns bytes, or -errno.
[[nodiscard, gnu::noinline]] ssize_t send_record(int fd, unsigned char type, const void* data,
                                                 std::size_t size) noexcept;

}  // namespace fiberd::tls

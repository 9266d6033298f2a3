#pragma once
// Admitted: a connection that a listener has let in, on its way to who serves it: its socket, its place among the
// counted ones, and its client as accept named it. Whoever has it has all of it, and whoever drops it closes and counts
// off the connection: there is nothing to forget on the way.
#include <utility>

#include "core/base/result.hpp"
#include "core/net/endpoint.hpp"
#include "core/net/place.hpp"
#include "core/net/tcp_stream.hpp"

namespace fiberd::net {

/// Move-only. Not thread-safe as an object; nothing of it parks.
class Admitted {
 public:
  /// Takes over `fd`, a connected and non-blocking socket.
  Admitted(int fd, Place place, const Endpoint& client) noexcept : fd_(fd), place_(std::move(place)), client_(client) {}
  Admitted(Admitted&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), place_(std::move(other.place_)), client_(other.client_) {}
  Admitted& operator=(Admitted&&) = delete;
  Admitted(const Admitted&) = delete;
  Admitted& operator=(const Admitted&) = delete;
  /// Closes the socket, if nobody has taken it, and then gives the place back.
  ~Admitted() {
    if (fd_ >= 0) close_socket();
  }

  /// The socket as a stream, once. Errors: as TcpStream::adopt; then it is closed.
  [[nodiscard]] Result<TcpStream> take_stream() noexcept { return TcpStream::adopt(take_socket()); }
  /// To look at; it stays where it is.
  [[nodiscard]] int socket() const noexcept { return fd_; }
  /// The bare socket, once: the caller's from now on.
  [[nodiscard]] int take_socket() noexcept { return std::exchange(fd_, -1); }
  /// The place: it must outlive the open socket.
  [[nodiscard]] Place take_place() noexcept { return std::move(place_); }
  /// Unspecified unless who serves has asked for it (Serving::wants_client) or a limit needed it. The kernel cannot be
  /// asked later: it forgets the address of one who has reset the connection.
  [[nodiscard]] const Endpoint& client() const noexcept { return client_; }

 private:
  void close_socket() noexcept;
  int fd_;
  Place place_;
  Endpoint client_;
};

}  // namespace fiberd::net

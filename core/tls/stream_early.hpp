#pragma once
// Stream::Early: what a server's stream has beside the rest while its handshake is not over, where early data is taken.
// How: stream_early.cpp.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/base/clock.hpp"
#include "core/base/hash.hpp"
#include "core/tls/stream.hpp"

namespace fiberd::tls {

/// Under the stream's lock.
struct Stream::Early {
  enum class Phase : std::uint8_t {
    reading,    ///< early data may come
    finishing,  ///< the rest of the handshake
    over        ///< and what is held has to go yet
  };
  [[nodiscard]] std::size_t left() const noexcept { return held.size() - at; }

  Phase phase = Phase::reading;
  bool handed_over = false;  // handshake() has returned before the handshake's end
  std::string held;          // early data that was not read yet, behind `at`
  std::size_t at = 0;
  std::string unsent;  // what OpenSSL has sent and the socket did not take
  Deadline limit;      // of the handshake
  OnHandshake on_end{};
};

/// Of a record that a writer goes on with.
[[nodiscard]] inline std::uint64_t hash_of_owed(std::span<const std::byte> data) noexcept {
  return hash_bytes(reinterpret_cast<const char*>(data.data()), data.size(), 0);
}

}  // namespace fiberd::tls

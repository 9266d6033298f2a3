#pragma once
// SocketBio: how OpenSSL reads and writes a Stream's socket: at once, or it says that it would have to wait.
#include <cstddef>

struct bio_st;

namespace fiberd::tls {

class Stream;

struct SocketBio {
  /// False: memory is out.
  [[nodiscard]] static bool attach(Stream& stream) noexcept;

  // OpenSSL's callbacks, under the stream's lock.
  static int read(bio_st* bio, char* data, std::size_t size, std::size_t* taken) noexcept;
  static int write(bio_st* bio, const char* data, std::size_t size, std::size_t* taken) noexcept;
  static long control(bio_st* bio, int command, long number, void* pointer) noexcept;
};

}  // namespace fiberd::tls

#pragma once
// SessionMemory: what nghttp2 allocates of a session: streams, frames that wait, fields. Each request takes some twenty
// pieces and gives them back in another order, a hundred requests at once; malloc keeps so few of a size at hand that
// most of them would go through its lists of all sizes. What is given back here is kept by size until the session
// rests.
#include <nghttp2/nghttp2.h>

#include <array>
#include <cstddef>

namespace fiberd::http::h2 {

/// Not thread-safe: under the session's mutex. It outlives what nghttp2 makes with it.
class SessionMemory {
 public:
  SessionMemory() noexcept;
  ~SessionMemory() { drop(); }
  SessionMemory(const SessionMemory&) = delete;
  SessionMemory& operator=(const SessionMemory&) = delete;
  [[nodiscard]] nghttp2_mem* hooks() noexcept { return &hooks_; }
  /// Gives back what is kept.
  void drop() noexcept;
  /// Bytes that are kept.
  [[nodiscard]] std::size_t kept() const noexcept { return kept_; }
  static constexpr std::size_t kMostKept = std::size_t{128} * 1024;

 private:
  static constexpr std::size_t kStep = 64;
  static constexpr std::size_t kSizes = 33;  // up to 2 KiB; larger ones are malloc's
  // In front of each piece.
  struct alignas(16) Head {
    std::size_t steps;
    Head* next;
  };
  [[nodiscard]] void* take(std::size_t size) noexcept;
  void give(void* piece) noexcept;
  [[nodiscard]] void* resize(void* piece, std::size_t size) noexcept;

  nghttp2_mem hooks_;
  std::size_t kept_ = 0;
  std::array<Head*, kSizes> free_{};
};

}  // namespace fiberd::http::h2

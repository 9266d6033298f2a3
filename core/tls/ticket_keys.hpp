#pragma once
// TicketKeys: what session tickets are sealed with (RFC 5077, RFC 8446 section 4.6.1): a ring of three keys. The newest
// seals; the two before still open what they have sealed. A ticket is good for two hours, so is the ring.
//
// Who has a key can read what was recorded of resumed TLS 1.2 sessions, so keys do not live long: our own are random,
// never leave memory, and one is made each hour. Machines that share theirs (files) have to be given new ones.
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/lock.hpp"
#include "core/base/result.hpp"
#include "core/tls/replay_record.hpp"

namespace fiberd::tls {

/// Seconds for which a session may be resumed.
inline constexpr std::int64_t kTicketLife = 7'200;

struct TicketKey {
  std::array<unsigned char, 16> name{};
  std::array<unsigned char, 32> hmac{};
  std::array<unsigned char, 32> aes{};
};
/// Bytes of a file of one: name, HMAC key, AES key, as nginx has them: `openssl rand 80`.
inline constexpr std::size_t kTicketKeyFile = 80;
inline constexpr std::size_t kTicketRing = 3;

/// Thread-safe; never parks.
class TicketKeys {
 public:
  ~TicketKeys();
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  /// Random ones. Error: what is said when there is no randomness.
  [[nodiscard]] static Result<std::shared_ptr<TicketKeys>> random();
  /// Of files, the newest first: one to three. `why` names the file and the remedy. Blocks the thread. Errors: what
  /// reading says, invalid_argument. Throws std::bad_alloc.
  [[nodiscard]] static Result<std::shared_ptr<TicketKeys>> read(const std::vector<std::string>& files,
                                                                std::string& why);

  /// The one that seals. Rotates random ones that are due.
  [[nodiscard]] TicketKey newest() noexcept;
  enum class Found : std::uint8_t { no, newest, older };
  [[nodiscard]] Found find(const unsigned char* name, TicketKey& key) const noexcept;
  /// A new random key seals from now on; the oldest is forgotten.
  void rotate() noexcept;
  /// Both have the same keys in the same order.
  [[nodiscard]] bool same(const TicketKeys& other) const noexcept;
  [[nodiscard]] bool shared() const noexcept { return shared_; }
  /// Of the tickets that these keys open.
  [[nodiscard]] ReplayRecord& replays() noexcept { return replays_; }

 private:
  explicit TicketKeys(bool shared) noexcept : shared_(shared) {}
  const bool shared_;
  mutable Lock lock_;
  std::array<TicketKey, kTicketRing> ring_ FIBERD_GUARDED_BY(lock_){};
  std::size_t count_ FIBERD_GUARDED_BY(lock_) = 0;
  std::int64_t due_ FIBERD_GUARDED_BY(lock_) = INT64_MAX;  // monotonic ns
  ReplayRecord replays_;
};

}  // namespace fiberd::tls

#pragma once
// ReplayRecord: which clients' hellos have brought early data, so that none does twice (RFC 8446 section 8.2).
//
// A hello that somebody on the way has recorded can be sent again, with the early data behind it, by who knows no key.
// It is the same to the byte then: its random is covered by the binder. OpenSSL takes early data only of a hello whose
// ticket is as old as the client says, give or take ten seconds (section 8.3), so whatever was recorded longer ago is
// refused without being remembered. A record belongs to the ring of keys that opens the tickets: as long as the keys
// are in one process, no early data is taken twice.
//
// Rejected: OpenSSL's own way, sessions that are taken out of its cache when they are used: it keeps some kilobytes for
// each ticket that was ever given, for two hours, in each context, and a renewed certificate makes another context.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "core/base/lock.hpp"

namespace fiberd::tls {

/// Thread-safe; never parks. Takes no memory before the first take().
class ReplayRecord {
 public:
  ReplayRecord() noexcept = default;
  ReplayRecord(const ReplayRecord&) = delete;
  ReplayRecord& operator=(const ReplayRecord&) = delete;

  enum class Verdict : std::uint8_t {
    fresh,     ///< and noted
    seen,      ///< it has come before
    uncertain  ///< nobody can tell: there is no room, no memory, or the clock has gone back
  };
  /// `random`: of the hello, 32 bytes that its sender has drawn. `now`: by the clock that OpenSSL judges ages by,
  /// seconds since 1970.
  [[nodiscard]] Verdict take(std::span<const unsigned char> random, std::int64_t now) noexcept;

  /// Seconds for which one is remembered at least. A hello is good for eleven different ones.
  static constexpr std::int64_t kTurn = 12;
  /// Of one turn; what is more is uncertain.
  static constexpr std::size_t kMost = 16'384;

 private:
  static constexpr std::size_t kSlots = 2 * kMost;
  /// Open addressing; 0 is nothing.
  using Table = std::unique_ptr<std::uint64_t[]>;
  [[nodiscard]] static std::size_t slot_of(const Table& table, std::uint64_t hash) noexcept;

  Lock lock_;
  Table now_ FIBERD_GUARDED_BY(lock_);
  Table before_ FIBERD_GUARDED_BY(lock_);  // the turn before
  std::size_t count_ FIBERD_GUARDED_BY(lock_) = 0;
  std::int64_t begun_ FIBERD_GUARDED_BY(lock_) = 0;   // the turn
  std::int64_t latest_ FIBERD_GUARDED_BY(lock_) = 0;  // that the clock has said
};

}  // namespace fiberd::tls

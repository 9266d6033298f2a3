#pragma once
// RollCall: whether every Processor takes up a fiber. One that is held by a fiber that computes does: it is replaced
// (core/runtime/handoff.cpp), and who asks the place is answered by its successor. One that nobody can replace, held by
// a pinned fiber or because there were too many before it, does not.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/runtime/runtime.hpp"

namespace fiberd::daemon {

/// One thread's, which need not be a fiber's.
class RollCall {
 public:
  /// `runtime` must outlive it, and the fibers that were asked may come after it has gone.
  explicit RollCall(runtime::Runtime& runtime);

  /// Asks those that are to be asked in this round and have not answered: each by one fiber at a time, which is set
  /// aside for reports. True when everyone has: the next call begins the next round. Never waits.
  [[nodiscard]] bool everyone() noexcept;
  /// Of this round, as of the last everyone().
  [[nodiscard]] unsigned missing() const noexcept { return missing_; }

 private:
  struct Place {
    std::atomic<bool> asked{false};          // by a fiber that has not run yet
    std::atomic<std::uint64_t> answered{0};  // the last round
  };
  struct Places {
    explicit Places(std::size_t count) : all(new Place[count]), size(count) {}
    const std::unique_ptr<Place[]> all;
    const std::size_t size;
  };
  runtime::Runtime& runtime_;
  const std::shared_ptr<Places> places_;
  std::uint64_t round_ = 1;
  unsigned missing_ = 0;
};

}  // namespace fiberd::daemon

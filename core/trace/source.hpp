#pragma once
// Source: with which tracer a trace begins that no request has begun. Contexts carry it in which there is work of its
// own: a trace::Span in such a one, in no span's context yet, is the first of a trace, and whether that is kept is
// decided as it is for requests (tracer.hpp).
//
// Over all configurations: a reload changes what traces begin with from then on. A trace goes on as it has begun.
#include <atomic>
#include <memory>

#include "core/base/lock.hpp"
#include "core/context/value.hpp"
#include "core/trace/tracer.hpp"

namespace fiberd::trace {

/// Any thread; never parks.
class Source {
 public:
  /// null: nothing is traced.
  void set(std::shared_ptr<const Tracer> tracer) noexcept {
    {
      const LockGuard guard(lock_);
      on_.store(tracer != nullptr, std::memory_order_relaxed);
      tracer_.swap(tracer);
    }
  }  // the one before goes outside of the lock
  [[nodiscard]] std::shared_ptr<const Tracer> tracer() const noexcept {
    if (!on_.load(std::memory_order_relaxed)) return nullptr;
    const LockGuard guard(lock_);
    return tracer_;
  }

 private:
  std::atomic<bool> on_{false};
  mutable Lock lock_;
  std::shared_ptr<const Tracer> tracer_ FIBERD_GUARDED_BY(lock_);
};

inline constexpr context::Key<std::shared_ptr<const Source>> kSource("traces");

}  // namespace fiberd::trace

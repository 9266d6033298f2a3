#pragma once
// Large things that end beside the Processors. Whoever lets go of a thing last destroys it, and of a configuration that
// has been replaced that may be any request: thousands of routes with their series are milliseconds in which nothing
// else runs on that Processor. So the last owner, if it is a fiber, has it destroyed on the blocking pool, by a fiber
// of its own, and goes on. On any other thread it ends there and then.
//
// Rejected: one who looks now and then who has become the only owner. It must wake, and there is something to be looked
// at for as long as a download lasts.
#include <memory>
#include <utility>
#include <vector>

namespace fiberd::daemon {

/// What is to end together.
struct Belongings {
  /// Held until `large` is gone, and then let go on a fiber, if one lets go of `large`: for what ends on fibers only.
  std::vector<std::shared_ptr<const void>> on_fiber;
  std::shared_ptr<const void> large;
};

/// Ends them as told above; here, if there is no fiber to be had for it. Any thread; never parks.
void let_go(Belongings belongings) noexcept;

/// `owned`, in pointers the last of which lets it go so. Throws std::bad_alloc.
template <class T>
std::shared_ptr<T> ends_beside(std::shared_ptr<T> owned, std::vector<std::shared_ptr<const void>> on_fiber) {
  T* const raw = owned.get();
  auto end = [belongings = Belongings{std::move(on_fiber), std::move(owned)}](T*) mutable noexcept {
    let_go(std::move(belongings));
  };
  return std::shared_ptr<T>(raw, std::move(end));
}

}  // namespace fiberd::daemon

#pragma once
// settle: a state that follows a wish, where several change the wish and bring the state after it without a lock around
// both. Looking, then acting, would let one that looked long ago undo what another has done since.

namespace fiberd::runtime {

/// Calls act(wanted()) until what is wanted is what was wanted before it. Both must be safe to call from several
/// threads at once and sequentially consistent; act() is idempotent. Whoever changes the wish calls it afterwards.
template <class Wanted, class Act>
void settle(Wanted wanted, Act act) {
  bool before = wanted();
  for (;;) {
    act(before);
    const bool now = wanted();
    if (now == before) return;
    before = now;
  }
}

}  // namespace fiberd::runtime

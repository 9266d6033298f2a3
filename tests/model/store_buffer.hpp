#pragma once
// StoreBuffer: a plain store as processors make it. The explorer's memory is sequentially consistent; where a protocol
// depends on a store that others see late, its variable is one of these: what its writer stores stays in the buffer
// until a step of the environment drains it, or a barrier does. (One store per variable and run is enough here.)
#include "tests/model/explorer.hpp"

namespace fiberd::model {

class StoreBuffer {
 public:
  /// The writer: the store waits in the buffer.
  void add() { pending_.store(pending_.load() + 1); }
  /// Of a thread of its own: at any moment after the store, by nobody's will.
  void drain_some_time() {
    pending_.wait_while(0);
    drain();
  }
  void drain() {
    if (pending_.load() != 0) visible_.store(1);
  }
  [[nodiscard]] int seen_by_others() const { return visible_.load(); }

 private:
  Atomic<int> pending_{0};
  Atomic<int> visible_{0};
};

}  // namespace fiberd::model

#pragma once
// AsymmetricBarrier for models: their memory is sequentially consistent, which is what the barrier gives its two flags.
#include "tests/model/explorer.hpp"

namespace fiberd::model {

struct Barrier {
  static void light_store(Atomic<bool>& flag) { flag.store(true); }
  static void heavy() {}
  static void wait_until_false(Atomic<bool>& flag) { flag.wait_while(true); }
};

}  // namespace fiberd::model

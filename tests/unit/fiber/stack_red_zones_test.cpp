// What AddressSanitizer knows of a stack is forgotten with it: the next mapping at its addresses is somebody else's.
#include "core/fiber/context.hpp"

#if defined(FIBERD_ASAN)
#include <sanitizer/asan_interface.h>

#include <catch2/catch.hpp>
#include <memory>
#include <utility>

#include "core/fiber/stack_pool.hpp"

using namespace fiberd;
using namespace fiberd::fiber;

TEST_CASE("stacks leave no red zones behind in addresses that others are given", "[fiber]") {
  void* at = nullptr;
  {
    const std::unique_ptr<StackPool> pool = std::move(*StackPool::create({}));
    StackCache cache;
    REQUIRE(pool->reserve(cache));
    Stack* const stack = pool->acquire(cache);
    at = stack->base;
    // As frames do whose functions never returned.
    ASAN_POISON_MEMORY_REGION(at, 4096);
    pool->release(cache, stack);
    pool->unreserve(cache);
    pool->flush(cache);
    REQUIRE(__asan_address_is_poisoned(at) == 1);
  }
  CHECK(__asan_address_is_poisoned(at) == 0);
}
#endif

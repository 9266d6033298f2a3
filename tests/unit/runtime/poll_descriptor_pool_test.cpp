// The pool of PollDescriptors: objects are reused, and the pages of a crowd that has gone go back to the kernel.
#include "core/runtime/poll_descriptor_pool.hpp"

#include <sys/mman.h>

#include <catch2/catch.hpp>
#include <set>
#include <vector>

#include "core/runtime/poll_descriptor.hpp"

using namespace fiberd::runtime;

namespace {

bool resident(const void* address) {
  unsigned char page = 0;
  void* const begin = reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(address) & ~std::uintptr_t{4095});
  REQUIRE(mincore(begin, 4096, &page) == 0);
  return (page & 1U) != 0;
}

}  // namespace

TEST_CASE("descriptors of a crowd give their memory back, and can be had again", "[poll_descriptor]") {
  PollDescriptorPool& pool = PollDescriptorPool::instance();
  const std::size_t before = pool.warm_slabs();
  const std::size_t many = 5 * PollDescriptorPool::slab_capacity();
  for (int round = 0; round < 3; ++round) {
    std::vector<PollDescriptor*> all;
    for (std::size_t i = 0; i < many; ++i) {
      all.push_back(pool.take());
      REQUIRE(all.back() != nullptr);
    }
    CHECK(std::set<PollDescriptor*>(all.begin(), all.end()).size() == many);
    CHECK(pool.warm_slabs() >= before + 4);
    // In an order that is not the order they were taken in.
    for (std::size_t i = 0; i < many; i += 2) pool.give_back(*all[i]);
    for (std::size_t i = 1; i < many; i += 2) pool.give_back(*all[i]);
    CHECK(pool.warm_slabs() <= before + 1);
    std::size_t still = 0;
    for (const PollDescriptor* d : all) still += resident(d) ? 1 : 0;
    CHECK(still <= 2 * PollDescriptorPool::slab_capacity());
  }
}

TEST_CASE("descriptors that come and go one at a time keep their memory", "[poll_descriptor]") {
  PollDescriptorPool& pool = PollDescriptorPool::instance();
  for (int i = 0; i < 100; ++i) {
    PollDescriptor* const d = pool.take();
    REQUIRE(d != nullptr);
    pool.give_back(*d);
    CHECK(resident(d));
  }
}

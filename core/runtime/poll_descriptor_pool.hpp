#pragma once
// PollDescriptorPool: the memory of all PollDescriptors of the process. Addresses are never given up, since an event
// that a Poller has fetched for a descriptor that was closed meanwhile must find memory that can be read as a
// PollDescriptor; but pages are, so that a crowd of connections is not paid for when it has gone.
//
// Slabs of 64 KiB at addresses that are multiples of 64 KiB: a descriptor's slab is found by masking its address. The
// first page holds the slab's head, and behind it descriptors that stay made; it stays. The other pages hold nothing
// but descriptors, and go back to the kernel when none of the slab's is in use. What a late event reads there is zeros,
// and no use of a descriptor has generation 0. One empty slab is kept as it is: else connections that come and go one
// at a time would cost a madvise each.
#include <cstddef>
#include <cstdint>

#include "core/base/intrusive_list.hpp"
#include "core/base/lock.hpp"

namespace fiberd::runtime {

class PollDescriptor;

/// Thread-safe. Never destroyed.
class PollDescriptorPool {
 public:
  static PollDescriptorPool& instance() noexcept;
  /// nullptr when memory is out.
  [[nodiscard]] PollDescriptor* take() noexcept;
  void give_back(PollDescriptor& descriptor) noexcept;

  /// Slabs whose descriptors have memory; for tests.
  [[nodiscard]] std::size_t warm_slabs() noexcept;
  [[nodiscard]] static std::size_t slab_capacity() noexcept;

 private:
  struct Slab;
  [[nodiscard]] static Slab* map_slab() noexcept;

  Lock lock_;
  List<Slab> usable_ FIBERD_GUARDED_BY(lock_);      // some are in use, some are not
  Slab* empty_ FIBERD_GUARDED_BY(lock_) = nullptr;  // none is in use, the pages are still there
  List<Slab> cold_ FIBERD_GUARDED_BY(lock_);        // no pages but the first
  std::size_t warm_ FIBERD_GUARDED_BY(lock_) = 0;
};

}  // namespace fiberd::runtime

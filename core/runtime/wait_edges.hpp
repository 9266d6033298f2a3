#pragma once
// WaitEdges: who could end a parked fiber's wait, for leak reports (core/observe/leak_report.hpp). A wait names the
// object it hangs at; here its room says who can get at that object.
//
// Addresses are kept inverted. A report searches the process's memory for words that refer to these objects, and what
// it has written down itself must not be among the finds.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/runtime/wait.hpp"

namespace fiberd::runtime {

/// An address that a search of the memory does not take for a reference.
class HiddenAddress {
 public:
  HiddenAddress() noexcept = default;
  explicit HiddenAddress(const volatile void* p) noexcept : inverted_(~reinterpret_cast<std::uintptr_t>(p)) {}
  explicit HiddenAddress(std::uintptr_t p) noexcept : inverted_(~p) {}
  /// Not to be stored anywhere but on the stack of the thread that searches.
  [[nodiscard]] std::uintptr_t reveal() const noexcept { return ~inverted_; }
  explicit operator bool() const noexcept { return ~inverted_ != 0; }
  friend bool operator==(HiddenAddress, HiddenAddress) noexcept = default;
  /// As the addresses.
  friend bool operator<(HiddenAddress a, HiddenAddress b) noexcept { return a.inverted_ > b.inverted_; }

 private:
  std::uintptr_t inverted_ = ~std::uintptr_t{0};
};

/// Something at which the wait hangs: whoever can get at it may end the wait.
struct WaitObject {
  HiddenAddress at{};
  std::size_t size = 0;  ///< bytes; those in which the queue of its waiters is
  /// What is known of its allocation: nothing but it is in there, and its owners' block, which may lie elsewhere.
  bool whole = false;
  HiddenAddress control{};
  /// A task: only the fiber ends it whose function begins with the task's address.
  bool task = false;
};

struct WaitEdges {
  std::vector<WaitObject> objects;
  std::vector<HiddenAddress> cancellations;  ///< beside the one that the wait itself obeys
  std::uint32_t owner = 0;                   ///< of a fiber: only this one ends it; 0: none
  bool by_itself = false;                    ///< it ends: a timer sends into the channel
  bool elsewhere = false;                    ///< others may end it, of whom nothing is known
};

/// Fills in `edges` for a wait at `object`. As DescribeWait (fiber_list.hpp): the waiting fiber is held still, it must
/// not park. A reason without one: elsewhere.
using TellEdges = void (*)(const void* object, WaitEdges& edges);
void set_wait_edges(WaitReason reason, TellEdges tell) noexcept;
[[nodiscard]] WaitEdges find_wait_edges(WaitReason reason, const void* object);

/// Waits that only other fibers end: no descriptor, timer or blocking call does.
[[nodiscard]] bool only_fibers_end(WaitReason reason) noexcept;

/// What a wait for WaitReason::select names: one that hangs at several things, each of which may end it.
struct ManyWaits {
  void (*tell)(const ManyWaits& waits, WaitEdges& edges) = nullptr;
  void (*describe)(const ManyWaits& waits, std::string& text) = nullptr;
};

/// What set_wait_description() knows of it.
void describe_wait(WaitReason reason, const void* object, std::string& text);

}  // namespace fiberd::runtime

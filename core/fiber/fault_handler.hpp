#pragma once
// Stack overflow becomes a report that names the fiber, then abort(), unless the stack has an emergency page; any other
// fault dies as it would have.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/result.hpp"

namespace fiberd::fiber {

/// What the runtime knows about the fiber whose guard page was hit.
struct OverflowInfo {
  std::uint64_t fiber_id = 0;
  std::string_view name;
  std::string_view file;  ///< spawn site
  std::uint32_t line = 0;
  std::size_t stack_size = 0;       ///< bytes
  std::string_view stack_class;     ///< empty: normal
  std::uintptr_t stack_bottom = 0;  ///< lowest usable byte
  std::uintptr_t stack_top = 0;     ///< one past the highest
};

/// Where the interrupted code stands: its frame pointer and next instruction; zeros where the architecture is unknown.
struct FaultRegisters {
  std::uintptr_t rbp = 0;
  std::uintptr_t rip = 0;
};

enum class Fault : std::uint8_t {
  not_ours,
  overflow,  ///< in a fiber's guard page, and `info` is filled (StackPool::find_guard_hit)
  goes_on,   ///< what was missing is there now (StackPool::open_emergency)
};

/// Called in a signal handler: must be async-signal-safe.
using DescribeOverflow = Fault (*)(const void* address, const FaultRegisters& where, OverflowInfo& info) noexcept;

/// Installs the process's SIGSEGV and SIGBUS handler (SA_ONSTACK); later calls only replace `describe`. Threads that
/// run fibers need a SignalStack and must not block the two signals. Thread-safe. Errors: from sigaction(2).
[[nodiscard]] Result<void> install_fault_handler(DescribeOverflow describe) noexcept;

/// The calling thread's alternate signal stack, for as long as this object lives: 4 × AT_MINSIGSTKSZ + 16 KiB at least,
/// with a guard page. Without memory for it the thread goes on without: logged, installed() is false.
class SignalStack {
 public:
  SignalStack() noexcept;
  /// On the same thread; restores what was installed before.
  ~SignalStack();
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

  [[nodiscard]] bool installed() const noexcept { return memory_ != nullptr; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  friend std::vector<std::pair<std::uintptr_t, std::uintptr_t>> signal_stacks();

  std::byte* memory_ = nullptr;
  std::size_t mapped_ = 0;
  std::size_t size_ = 0;
  void* previous_ = nullptr;  // of the stack_t that was there
  std::size_t previous_size_ = 0;
  int previous_flags_ = 0;
  SignalStack* before_ = nullptr;  // of all there are
  SignalStack* next_ = nullptr;
};

/// From lowest to one past the highest byte of each SignalStack there is. What stands there when no handler runs is
/// what the last one left. Thread-safe; throws std::bad_alloc.
[[nodiscard]] std::vector<std::pair<std::uintptr_t, std::uintptr_t>> signal_stacks();

}  // namespace fiberd::fiber

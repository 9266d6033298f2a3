#pragma once
// CpuSampler: what SIGPROF's handler writes down, and the ring through which it comes out of there. How, and what it
// may do there: cpu_sampler.cpp.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "core/fiber/interrupted_frames.hpp"
#include "core/runtime/profile_label.hpp"

namespace fiberd::observe {

struct CpuSample {
  static constexpr std::size_t kFrames = 96;
  struct Label {
    std::array<char, runtime::ProfileLabel::kMostKey> key;
    std::array<char, runtime::ProfileLabel::kMostValue> value;
    std::uint8_t key_size;
    std::uint8_t value_size;
  };
  std::array<std::uintptr_t, kFrames> frames;  ///< the instruction's own address, then return addresses
  std::size_t depth = 0;
  std::uint32_t weight = 1;  ///< periods that it stands for: more than 1 if the thread was late to be told
  std::string_view fiber;    ///< its name, which lives for ever; empty: no fiber ran
  std::size_t label_count = 0;
  std::array<Label, runtime::ProfileLabel::kMostLabels> labels;
};

class CpuSampler {
 public:
  static constexpr std::size_t kSlots = 2048;  ///< a power of two; 5 MiB

  /// What it has come to so far.
  struct Counts {
    std::uint64_t samples = 0;  ///< taken
    std::uint64_t lost = 0;     ///< periods without one: the ring was full, or a thread's alternate stack
    std::uint64_t each = 0;     ///< ns of CPU time that one took in the handler
  };

  /// Throws std::bad_alloc.
  CpuSampler();
  ~CpuSampler();
  CpuSampler(const CpuSampler&) = delete;
  CpuSampler& operator=(const CpuSampler&) = delete;

  /// From now on the handler writes here. False: another one is written to, or the signal is another library's. The
  /// handler stays when the sampler is gone, and then does nothing: a signal may come late.
  [[nodiscard]] static bool install() noexcept;
  [[nodiscard]] bool attach() noexcept;
  /// Returns when no handler is in here any more. Idempotent.
  void detach() noexcept;

  /// The oldest sample that is complete; false: none. By one thread. `sample` is overwritten as far as it is used.
  [[nodiscard]] bool take(CpuSample& sample) noexcept;
  [[nodiscard]] Counts counts() const noexcept;

  /// In the handler, with what is left of the stack that it stands on. Not inlined: see there.
  [[gnu::noinline]] void note(const void* ucontext, std::uint32_t weight, std::size_t room) noexcept;
  /// There is no room for it.
  void lose(std::uint32_t weight) noexcept;

 private:
  struct Slot {
    std::atomic<std::uint64_t> turn{0};
    CpuSample sample;
  };
  std::unique_ptr<std::array<Slot, kSlots>> slots_;
  std::atomic<std::uint64_t> next_{0};  // to be written
  std::uint64_t taken_ = 0;
  std::atomic<std::uint64_t> samples_{0};
  std::atomic<std::uint64_t> lost_{0};
  std::atomic<std::uint64_t> spent_{0};
  std::atomic<std::uint64_t> measured_{0};
  fiber::ProgramCode code_;
  int process_ = 0;
};

}  // namespace fiberd::observe

#pragma once
// Admission: whom spawn asks before a fiber exists, and the count of what it was answered.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <system_error>

#include "core/base/lock.hpp"
#include "core/base/result.hpp"

namespace fiberd::runtime {

/// Asked by spawn before a fiber exists, on any thread, also inside the scheduler. Must not park nor throw.
class Admission {
 public:
  Admission() noexcept = default;
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;
  /// `name` is the fiber's. An error refuses: it becomes spawn's error and says why.
  [[nodiscard]] virtual Result<void> admit(std::string_view name) noexcept = 0;

 protected:
  ~Admission() = default;
};

/// An Admission without state.
using AdmissionHook = Result<void> (*)(std::string_view name) noexcept;

class FunctionAdmission final : public Admission {
 public:
  void set(AdmissionHook hook) noexcept { hook_.store(hook, std::memory_order_release); }
  [[nodiscard]] Result<void> admit(std::string_view name) noexcept override {
    const AdmissionHook hook = hook_.load(std::memory_order_acquire);
    return hook != nullptr ? hook(name) : Result<void>();
  }

 private:
  std::atomic<AdmissionHook> hook_{nullptr};
};

/// Spawns refused for one reason.
struct SpawnRefusal {
  std::error_code reason;
  std::uint64_t count = 0;
};
/// Different reasons that are told apart; further ones count as the last.
inline constexpr std::size_t kSpawnRefusals = 16;

/// Thread-safe; never parks; the first refusal for a reason takes a lock, later ones do not.
class SpawnRefusals {
 public:
  void add(std::error_code reason) noexcept {
    const std::size_t used = used_.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < used; ++i)
      if (reasons_[i] == reason) {
        counts_[i].fetch_add(1, std::memory_order_relaxed);
        return;
      }
    add_new(reason);
  }
  /// Those that happened, in the order of their first time; the rest of `out` is left alone.
  void read(std::array<SpawnRefusal, kSpawnRefusals>& out) const noexcept {
    const std::size_t used = used_.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < used; ++i) out[i] = {reasons_[i], counts_[i].load(std::memory_order_relaxed)};
  }

 private:
  void add_new(std::error_code reason) noexcept;
  Lock lock_;  // orders those who write; readers take none
  std::atomic<std::size_t> used_{0};
  std::array<std::error_code, kSpawnRefusals> reasons_{};  // written before used_, never after
  std::array<std::atomic<std::uint64_t>, kSpawnRefusals> counts_{};
};

}  // namespace fiberd::runtime

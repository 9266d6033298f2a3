#pragma once
// MemoryGovernor: keeps the process below its memory limits: gives memory back before one is reached, turns new work
// away when that is not enough, and goes back when it is. By which rules: memory_levels.hpp.
//
// Who looks is a thread of its own. A fiber's turn comes when those before it are done, which in a crowd is when it is
// too late; and what the look leads to (a few stores that listeners and sites read) needs no fiber. Giving back takes
// its time (files are closed, the allocator walks its arenas), so it is another thread's, and no look waits for it.
// Only parting with idle connections is a fiber's, which also has GOMAXPROCS follow the CPU quota: that may have to
// wait for Processors.
//
// Rejected: to be told by the kernel (cgroup.event_control, memory.events, PSI triggers). Each is there in one version
// of control groups only, and tells that a level was passed, not how fast. A look costs some 50 µs; at its fastest,
// when the limit is near, that is half a percent of a CPU.
#include <semaphore.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include <pthread.h>

#include "config/config.hpp"
#include "core/base/lock.hpp"
#include "core/base/log_limit.hpp"
#include "core/metric/registry.hpp"
#include "core/runtime/cgroup_memory.hpp"
#include "core/runtime/pressure_stall.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/wait.hpp"
#include "daemon/calm_trim.hpp"
#include "daemon/cpu_follower.hpp"
#include "daemon/memory_gate.hpp"
#include "daemon/memory_levels.hpp"
#include "daemon/room.hpp"

namespace fiberd::daemon {

class MemoryGovernor {
 public:
  /// What it is given must outlive it, but for the runtime: stop() before that goes. Throws as Registry does.
  MemoryGovernor(runtime::Runtime& runtime, Room& room, CpuFollower& cpus, metric::Registry& registry);
  ~MemoryGovernor() { stop(); }
  MemoryGovernor(const MemoryGovernor&) = delete;
  MemoryGovernor& operator=(const MemoryGovernor&) = delete;

  /// By this configuration from now on, and by `own_limit`: bytes of the process's resident memory, 0: none. Any
  /// thread.
  void use(const config::MemoryConfig& config, std::uint64_t own_limit) noexcept;
  /// Looks for the first time, starts the threads, and the fiber, which ends with `until`. Where one of them cannot be
  /// had it is logged what is not done. Once.
  void start(runtime::Cancellation& until);
  /// The threads end; nobody is turned away any more. Blocks the thread until it has.
  void stop() noexcept;

  [[nodiscard]] MemoryGate& gate() noexcept { return gate_; }
  [[nodiscard]] MemoryLevel level() const noexcept { return level_.load(std::memory_order_relaxed); }
  /// As of the last look: the limit that is nearest to being reached. For logs.
  [[nodiscard]] runtime::MemoryCharge nearest() const noexcept {
    return {charge_.load(std::memory_order_relaxed), limit_.load(std::memory_order_relaxed)};
  }
  /// Empties caches and has the allocator give back what it holds, now. Returns by how many bytes the resident memory
  /// is less. Any thread, which it blocks, for as long as a large heap takes: on a fiber inside of runtime::blocking.
  /// Gently: caches stay.
  std::uint64_t trim(bool gently = false) noexcept;

 private:
  struct Settings {
    bool on = true;
    std::uint64_t own_limit = 0;
    MemoryThresholds thresholds{};
  };
  enum class Whose : std::uint8_t { nobody, group, process };

  static void run(MemoryGovernor* const& self) noexcept;
  static void run_trimmer(MemoryGovernor* const& self) noexcept;
  void let_trim(MemoryLevel level, std::int64_t now) noexcept;
  void look_again() noexcept { (void)sem_post(&again_); }
  std::chrono::milliseconds look() noexcept;
  std::chrono::milliseconds look_and_act(std::int64_t now);
  void look_at_stalls(std::int64_t now);
  void act(MemoryLevel level, Whose whose, const runtime::MemoryCharge& nearest, double expected,
           const Settings& settings);
  void say(MemoryLevel before, MemoryLevel level, Whose whose, const runtime::MemoryCharge& nearest) const;
  void watch(runtime::Cancellation& until);
  void let_cut(const runtime::MemoryCharge& nearest, double growth, const MemoryThresholds& thresholds) noexcept;
  void cut() noexcept;
  void pause(runtime::Cancellation& until) noexcept;
  void export_metrics();

  runtime::Runtime& runtime_;
  Room& room_;
  CpuFollower& cpus_;
  MemoryGate gate_;
  metric::Leases leases_;
  metric::Counter* trims_ = nullptr;
  metric::Counter* given_back_ = nullptr;
  metric::Counter* cut_ = nullptr;
  std::array<metric::Counter*, kMemoryLevels> entered_{};

  Lock settings_lock_;
  Settings settings_ FIBERD_GUARDED_BY(settings_lock_);

  // The thread's.
  sem_t again_{};
  std::optional<pthread_t> thread_;
  std::optional<pthread_t> trimmer_;
  sem_t trim_{};
  std::atomic<bool> trimming_{false};           // the trimmer's turn
  std::atomic<std::uint64_t> last_trimmed_{0};  // bytes; read when trimming_ is false again
  std::atomic<bool> gently_{false};             // what is free alone: nothing presses
  bool trim_begun_ = false;
  TrimPace pace_;
  CalmTrim calm_;
  std::atomic<bool> stopping_{false};
  runtime::CgroupMemory group_;
  LevelRule rule_;
  GrowthRule growth_;
  StallShares stalls_;
  std::optional<runtime::StallTimes> stalled_before_;
  std::int64_t stalled_at_ = 0;
  std::string stalled_in_;

  // The fiber's.
  std::atomic<std::uint64_t> watcher_{0};  // its ticket while it pauses
  std::atomic<std::uint64_t> to_cut_{0};   // bytes
  std::int64_t cut_at_ = 0;
  LogLimit cut_said_;

  // As of the last look; for whoever wants to know.
  std::atomic<MemoryLevel> level_{MemoryLevel::normal};
  std::atomic<std::uint64_t> charge_{0};  // of the nearest
  std::atomic<std::uint64_t> limit_{0};
  std::atomic<std::uint64_t> group_charge_{0};
  std::atomic<std::uint64_t> group_limit_{0};
  std::atomic<std::uint64_t> resident_{0};
  std::atomic<std::uint64_t> own_limit_{0};
  std::atomic<std::uint64_t> some_us_{0};
  std::atomic<std::uint64_t> full_us_{0};
  std::atomic<std::uint64_t> looks_{0};
};

}  // namespace fiberd::daemon

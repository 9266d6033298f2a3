#pragma once
// Upgrader: one upgrade at a time, whoever asks for it: a signal or the admin listener. Who asks for a second one is
// told that there is one.
#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/base/lock.hpp"
#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/metric/registry.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/wait_group.hpp"

namespace fiberd::daemon::upgrade {

struct Request {
  std::string binary{};                        ///< whole path; empty: what this process was started from
  std::string signature{};                     ///< whole path; empty: the binary's with ".sig"
  std::chrono::nanoseconds rollback_after{0};  ///< how long the old process stands by
};

struct Answer {
  enum class Verdict : std::uint8_t {
    done,
    refused,  ///< it cannot be: nothing was tried
    failed,   ///< the new process was not to be had, or not ready
    rolled_back,
    busy,
    stopping
  } verdict = Verdict::done;
  std::string text{};      ///< lines
  bool forbidden = false;  ///< refused because of who may ask
};

class Upgrader {
 public:
  /// `upgrade` does it, on a fiber of `runtime`. Throws as Registry does.
  Upgrader(runtime::Runtime& runtime, metric::Registry& registry, std::function<Answer(const Request&)> upgrade);
  Upgrader(const Upgrader&) = delete;
  Upgrader& operator=(const Upgrader&) = delete;

  /// From now on what is asked for is done. Any thread.
  void open() noexcept;
  /// From now on all are refused: the process stops. The one that is under way ends by itself. Any thread.
  void close() noexcept;
  /// Begins one, and does not wait. Any thread.
  void request(Request request) noexcept;
  /// Does one. On a fiber. Errors: as waiting under `ctx`; the upgrade goes on.
  [[nodiscard]] Result<Answer> request_and_wait(const context::Context& ctx, Request request);

 private:
  struct Attempt {
    Attempt() { done.add(1); }
    sync::WaitGroup done;
    Request request;
    Answer answer;
  };
  enum class State : std::uint8_t { not_yet, free, busy, closed };
  [[nodiscard]] std::shared_ptr<Attempt> begin(Request request);
  void run(const std::shared_ptr<Attempt>& attempt) noexcept;
  void settle(Attempt& attempt, Answer answer) noexcept;
  void give_back() noexcept;

  runtime::Runtime& runtime_;
  std::array<metric::Counter*, 6> counts_{};  // by verdict
  const std::function<Answer(const Request&)> upgrade_;
  Lock lock_;
  State state_ FIBERD_GUARDED_BY(lock_) = State::not_yet;
};

/// "done", "refused", …: the label of fiberd_upgrades_total.
[[nodiscard]] std::string_view name_of(Answer::Verdict verdict) noexcept;

}  // namespace fiberd::daemon::upgrade

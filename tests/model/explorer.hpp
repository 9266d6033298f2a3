#pragma once
// Explorer: runs a small concurrent program in every interleaving of its atomic operations.
//
// Model threads are coroutines on the calling thread. model::Atomic<T> has std::atomic's interface; before each
// operation the coroutine gives the word back to the explorer, which chooses who goes on. A run is a list of choices;
// the next run repeats it up to the last choice that has an alternative left (depth-first search by replay). Memory
// orders are ignored: every interleaving is sequentially consistent. What weaker orders would allow is left to TSan and
// to the reasoning in the headers.
//
// Two reductions, and they are not used together:
//   * Sleep sets (the default): of runs that differ only in the order of operations that commute (different variables,
//     or two loads), one is completed. Every reachable end and every deadlock is still seen. An invariant checked after
//     each step sees one representative order; it must depend on model variables or on counters only.
//   * A bound on preemptions, for programs too large for that: then the search is incomplete and says so.
// compare_exchange_weak may also fail for no reason: a choice, up to `spurious` times a run.
//
// Rejected: real threads with a lock-step scheduler (a thousand times slower); exceptions to abandon a run (the code
// under test is noexcept): an abandoned coroutine is simply started anew, hence model threads own nothing on their
// stacks that needs a destructor.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/fiber/context.hpp"

namespace fiberd::model {

inline constexpr unsigned kMaxThreads = 8;
inline constexpr unsigned kUnbounded = ~0U;

struct Options {
  unsigned preemptions = kUnbounded;
  unsigned spurious = 1;
  std::size_t max_steps = 400;               ///< of one run; more is reported as a livelock
  std::uint64_t max_executions = 3'000'000;  ///< beyond it the search is given up as incomplete
};

struct Outcome {
  bool failed = false;
  bool complete = false;  ///< every interleaving (within the preemption bound) was visited
  std::uint64_t executions = 0;
  std::string report;  ///< of a failure: what, and the schedule that leads there
};

class Explorer;

/// What a scenario builds for each run: shared state, threads, checks.
class World {
 public:
  /// Shared state that lives as long as the run.
  template <class T>
  T& make() {
    auto p = std::make_shared<T>();
    T& r = *p;
    owned_.push_back(std::move(p));
    return r;
  }
  void thread(std::string_view name, std::function<void()> body) { threads_.push_back({name, std::move(body)}); }
  /// Checked after every step; an empty string is good.
  void invariant(std::function<std::string()> check) { invariant_ = std::move(check); }
  /// Checked when all threads have ended, or all that are left wait for ever and may_hang said so.
  void finally(std::function<std::string()> check) { finally_ = std::move(check); }
  /// Threads that wait for ever at the end are no deadlock (servers without work).
  void may_hang() { may_hang_ = true; }

 private:
  friend class Explorer;
  struct Thread {
    std::string_view name;
    std::function<void()> body;
  };
  std::vector<std::shared_ptr<void>> owned_;
  std::vector<Thread> threads_;
  std::function<std::string()> invariant_;
  std::function<std::string()> finally_;
  bool may_hang_ = false;
};

class Explorer {
 public:
  using Scenario = std::function<void(World&)>;

  explicit Explorer(const Options& options) : options_(options) {}
  ~Explorer();
  Explorer(const Explorer&) = delete;
  Explorer& operator=(const Explorer&) = delete;

  Outcome run(const Scenario& scenario);

  /// The explorer whose model thread runs now, else nullptr (set-up and checks).
  [[nodiscard]] static Explorer* current() noexcept { return current_; }

  // ---- called by model threads
  enum class Kind : std::uint8_t { load, store, exchange, compare_exchange, fetch, wait };
  /// Gives way before an operation. For Kind::wait: returns only when `ready(argument)`.
  void point(Kind kind, const void* variable, bool (*ready)(const void*) = nullptr, const void* argument = nullptr);
  /// A two-way choice of the environment: does this weak exchange fail without reason?
  [[nodiscard]] bool fails_spuriously();
  void fail(std::string message);

 private:
  struct Operation {
    Kind kind = Kind::load;
    const void* variable = nullptr;
    bool (*ready)(const void*) = nullptr;
    const void* argument = nullptr;
  };
  struct Coroutine {
    Explorer* explorer = nullptr;
    std::unique_ptr<std::byte[]> stack;
    fiber::SavedContext context;
    const std::function<void()>* body = nullptr;
    bool fresh = true;  // the context stands at its beginning or waits for the next body
    bool done = false;
    Operation pending;
  };
  struct Node {
    bool data = false;         // a choice of the environment: chosen is 0 or 1
    std::uint32_t chosen = 0;  // thread number, or the value
    std::uint32_t enabled = 0;
    std::uint32_t asleep = 0;  // threads whose step here was tried or is covered elsewhere
  };
  struct Step {
    std::uint32_t thread;
    Kind kind;
    const void* variable;
    bool spurious;
  };
  enum class End : std::uint8_t { good, pruned, failed };

  static constexpr std::size_t kStackSize = 64 * 1024;
  static constexpr std::uint32_t kNobody = ~0U;
  static void entry(void* coroutine) noexcept;
  void prepare(std::size_t i, const std::function<void()>& body);
  void resume(std::size_t i);
  End execute(const Scenario& scenario);
  End step_loop(World& world);
  [[nodiscard]] bool choose_thread(std::uint32_t enabled, std::uint32_t& thread);
  [[nodiscard]] bool next_path();
  [[nodiscard]] std::uint32_t candidates(const Node& node) const noexcept;
  [[nodiscard]] static bool independent(const Operation& a, const Operation& b) noexcept;
  [[nodiscard]] std::string describe(const World& world) const;

  static inline Explorer* current_ = nullptr;

  const Options options_;
  std::vector<std::unique_ptr<Coroutine>> coroutines_;
  fiber::SavedContext main_;
  std::size_t live_ = 0;
  std::uint32_t running_ = kNobody;
  std::vector<Node> path_;
  std::size_t depth_ = 0;
  std::uint32_t inherited_sleep_ = 0;
  std::uint32_t last_thread_ = kNobody;
  unsigned preemptions_left_ = 0;
  unsigned spurious_left_ = 0;
  std::vector<Step> steps_;
  std::string failure_;
};

inline Outcome explore(const Options& options, const Explorer::Scenario& scenario) {
  return Explorer(options).run(scenario);
}
/// From a model thread: the run is wrong.
inline void fail(std::string message) { Explorer::current()->fail(std::move(message)); }

/// std::atomic for model threads.
template <class T>
class Atomic {
  using Kind = Explorer::Kind;

 public:
  constexpr Atomic() noexcept = default;
  constexpr Atomic(T value) noexcept : value_(value) {}  // NOLINT: as std::atomic
  Atomic(const Atomic&) = delete;
  Atomic& operator=(const Atomic&) = delete;

  T load(std::memory_order = std::memory_order_seq_cst) const noexcept {
    point(Kind::load);
    return value_;
  }
  void store(T value, std::memory_order = std::memory_order_seq_cst) noexcept {
    point(Kind::store);
    value_ = value;
  }
  T exchange(T value, std::memory_order = std::memory_order_seq_cst) noexcept {
    point(Kind::exchange);
    const T old = value_;
    value_ = value;
    return old;
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order = std::memory_order_seq_cst,
                               std::memory_order = std::memory_order_seq_cst) noexcept {
    point(Kind::compare_exchange);
    if (value_ != expected) {
      expected = value_;
      return false;
    }
    value_ = desired;
    return true;
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order = std::memory_order_seq_cst,
                             std::memory_order = std::memory_order_seq_cst) noexcept {
    point(Kind::compare_exchange);
    if (value_ != expected) {
      expected = value_;
      return false;
    }
    if (Explorer* const e = Explorer::current(); e != nullptr && e->fails_spuriously()) return false;
    value_ = desired;
    return true;
  }
  T fetch_add(T n, std::memory_order = std::memory_order_seq_cst) noexcept {
    point(Kind::fetch);
    const T old = value_;
    value_ = static_cast<T>(old + n);
    return old;
  }
  T fetch_sub(T n, std::memory_order = std::memory_order_seq_cst) noexcept {
    point(Kind::fetch);
    const T old = value_;
    value_ = static_cast<T>(old - n);
    return old;
  }
  T fetch_or(T n, std::memory_order = std::memory_order_seq_cst) noexcept {
    point(Kind::fetch);
    const T old = value_;
    value_ = old | n;
    return old;
  }
  T fetch_and(T n, std::memory_order = std::memory_order_seq_cst) noexcept {
    point(Kind::fetch);
    const T old = value_;
    value_ = old & n;
    return old;
  }
  /// Blocks the model thread until the value is not `old`; returns the value.
  T wait_while(T old) const noexcept {
    if (Explorer* const e = Explorer::current()) {
      const Waited waited{this, old};
      e->point(
          Kind::wait, this,
          [](const void* p) {
            const auto* w = static_cast<const Waited*>(p);
            return w->self->value_ != w->old;
          },
          &waited);
    }
    return value_;
  }
  /// For invariants and checks: no step of the program.
  [[nodiscard]] T peek() const noexcept { return value_; }

 private:
  struct Waited {
    const Atomic* self;
    T old;
  };
  void point(Kind kind) const noexcept {
    if (Explorer* const e = Explorer::current()) e->point(kind, this);
  }
  T value_{};
};

}  // namespace fiberd::model

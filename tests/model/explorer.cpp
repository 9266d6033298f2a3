#include "tests/model/explorer.hpp"

#include <algorithm>
#include <bit>

#if defined(FIBERD_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace fiberd::model {

Explorer::~Explorer() {
  for (const auto& c : coroutines_) fiber::destroy_context(c->context);
}

void Explorer::entry(void* argument) noexcept {
  auto& c = *static_cast<Coroutine*>(argument);
  for (;;) {
    (*c.body)();
    c.done = true;
    fiber::switch_context(c.context, c.explorer->main_, fiber::thread_eh_globals());
  }
}

void Explorer::prepare(std::size_t i, const std::function<void()>& body) {
  if (i == coroutines_.size()) {
    coroutines_.push_back(std::make_unique<Coroutine>());
    coroutines_[i]->explorer = this;
    coroutines_[i]->stack = std::make_unique<std::byte[]>(kStackSize);
    coroutines_[i]->done = true;
    fiber::init_context(coroutines_[i]->context, coroutines_[i]->stack.get() + kStackSize, coroutines_[i]->stack.get(),
                        &Explorer::entry, coroutines_[i].get());
  }
  Coroutine& c = *coroutines_[i];
  if (!c.done) {  // abandoned in the middle of its body
    fiber::destroy_context(c.context);
#if defined(FIBERD_ASAN)
    __asan_unpoison_memory_region(c.stack.get(), kStackSize);
#endif
    c.context = fiber::SavedContext{};
    fiber::init_context(c.context, c.stack.get() + kStackSize, c.stack.get(), &Explorer::entry, &c);
  }
  c.body = &body;
  c.done = false;
}

void Explorer::resume(std::size_t i) {
  running_ = static_cast<std::uint32_t>(i);
  current_ = this;
  fiber::switch_context(main_, coroutines_[i]->context, fiber::thread_eh_globals());
  current_ = nullptr;
  running_ = kNobody;
}

void Explorer::point(Kind kind, const void* variable, bool (*ready)(const void*), const void* argument) {
  Coroutine& c = *coroutines_[running_];
  c.pending = {kind, variable, ready, argument};
  fiber::switch_context(c.context, main_, fiber::thread_eh_globals());
}

void Explorer::fail(std::string message) {
  if (failure_.empty()) failure_ = std::move(message);
}

bool Explorer::fails_spuriously() {
  if (spurious_left_ == 0) return false;
  if (depth_ == path_.size()) path_.push_back({true, 0, 0, 0});
  const bool fails = path_[depth_++].chosen != 0;
  if (fails) {
    --spurious_left_;
    steps_.back().spurious = true;
  }
  return fails;
}

bool Explorer::independent(const Operation& a, const Operation& b) noexcept {
  const auto reads = [](Kind k) { return k == Kind::load || k == Kind::wait; };
  return a.variable != b.variable || (reads(a.kind) && reads(b.kind));
}

std::uint32_t Explorer::candidates(const Node& node) const noexcept { return node.enabled & ~node.asleep; }

/// False: everything from here on is covered by another run.
bool Explorer::choose_thread(std::uint32_t enabled, std::uint32_t& thread) {
  if (depth_ == path_.size()) {
    Node node{false, 0, enabled, 0};
    if (options_.preemptions == kUnbounded) {
      node.asleep = inherited_sleep_;
    } else if (last_thread_ != kNobody && (enabled >> last_thread_ & 1U) != 0 && preemptions_left_ == 0) {
      node.enabled = 1U << last_thread_;
    }
    const std::uint32_t open = candidates(node);
    if (open == 0) return false;
    node.chosen = last_thread_ != kNobody && (open >> last_thread_ & 1U) != 0
                      ? last_thread_
                      : static_cast<std::uint32_t>(std::countr_zero(open));
    path_.push_back(node);
  }
  const Node& node = path_[depth_++];
  thread = node.chosen;
  if (last_thread_ != kNobody && thread != last_thread_ && (enabled >> last_thread_ & 1U) != 0) --preemptions_left_;
  last_thread_ = thread;
  inherited_sleep_ = 0;
  for (std::uint32_t u = 0; u < live_; ++u)
    if ((node.asleep >> u & 1U) != 0 && u != thread &&
        independent(coroutines_[u]->pending, coroutines_[thread]->pending))
      inherited_sleep_ |= 1U << u;
  return true;
}

/// Moves to the next untried choice; false when there is none.
bool Explorer::next_path() {
  while (!path_.empty()) {
    Node& node = path_.back();
    if (node.data) {
      if (node.chosen == 0) {
        node.chosen = 1;
        return true;
      }
    } else {
      node.asleep |= 1U << node.chosen;
      if (const std::uint32_t open = candidates(node); open != 0) {
        node.chosen = static_cast<std::uint32_t>(std::countr_zero(open));
        return true;
      }
    }
    path_.pop_back();
  }
  return false;
}

Explorer::End Explorer::step_loop(World& world) {
  for (;;) {
    if (!failure_.empty()) return End::failed;
    if (world.invariant_) {
      failure_ = world.invariant_();
      if (!failure_.empty()) return End::failed;
    }
    std::uint32_t enabled = 0;
    bool all_done = true;
    for (std::size_t i = 0; i < live_; ++i) {
      const Coroutine& c = *coroutines_[i];
      if (c.done) continue;
      all_done = false;
      if (c.pending.ready == nullptr || c.pending.ready(c.pending.argument)) enabled |= 1U << i;
    }
    if (enabled == 0) {
      if (!all_done && !world.may_hang_) failure_ = "deadlock: every thread that is left waits";
      if (failure_.empty() && world.finally_) failure_ = world.finally_();
      return failure_.empty() ? End::good : End::failed;
    }
    if (steps_.size() >= options_.max_steps) {
      failure_ = "livelock: the step limit is reached";
      return End::failed;
    }
    std::uint32_t thread = 0;
    if (!choose_thread(enabled, thread)) return End::pruned;
    const Operation& op = coroutines_[thread]->pending;
    steps_.push_back({thread, op.kind, op.variable, false});
    resume(thread);
  }
}

Explorer::End Explorer::execute(const Scenario& scenario) {
  World world;
  scenario(world);
  live_ = world.threads_.size();
  depth_ = 0;
  inherited_sleep_ = 0;
  last_thread_ = kNobody;
  preemptions_left_ = options_.preemptions;
  spurious_left_ = options_.spurious;
  steps_.clear();
  failure_.clear();
  // Up to its first operation a thread touches nothing shared: the order does not matter.
  for (std::size_t i = 0; i < live_; ++i) prepare(i, world.threads_[i].body);
  for (std::size_t i = 0; i < live_; ++i) resume(i);
  const End end = step_loop(world);
  if (end == End::failed) failure_ = describe(world);
  return end;
}

Outcome Explorer::run(const Scenario& scenario) {
  fiber::init_thread_context(main_);
  Outcome outcome;
  while (outcome.executions < options_.max_executions) {
    ++outcome.executions;
    if (execute(scenario) == End::failed) {
      outcome.failed = true;
      outcome.report = failure_;
      return outcome;
    }
    if (!next_path()) {
      outcome.complete = true;
      return outcome;
    }
  }
  return outcome;
}

std::string Explorer::describe(const World& world) const {
  static constexpr std::string_view kNames[] = {"load", "store", "exchange", "compare_exchange", "fetch", "wait"};
  std::vector<const void*> variables;
  std::string text = failure_ + "\nafter this schedule:\n";
  for (const Step& s : steps_) {
    const auto found = std::find(variables.begin(), variables.end(), s.variable);
    const auto number = found - variables.begin();
    if (found == variables.end()) variables.push_back(s.variable);
    text += "  " + std::string(world.threads_[s.thread].name) + ": " +
            std::string(kNames[static_cast<std::size_t>(s.kind)]) + " v" + std::to_string(number) +
            (s.spurious ? " (fails spuriously)" : "") + "\n";
  }
  return text;
}

}  // namespace fiberd::model

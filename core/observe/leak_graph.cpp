// Who can still end a wait? Go's collector asks that of its heap (the goroutine leak profile of Go 1.26): start from
// everything that goes on by itself, mark what it can reach, and whoever waits at what was not marked waits for ever.
// This is the same fixed point without a collector.
//
// Suspected are fibers that have waited for longer than the threshold for what only others do: no time ends the wait,
// no descriptor, no thread. Everything else in the process is taken to go on: all other fibers, all threads, the whole
// heap, all globals. A suspect can go on when
//   - the fiber that holds its mutex can, or is no suspect (a mutex writes its owner down; one that has ended cannot);
//   - the fiber that runs the task it joins can, or is no suspect;
//   - what it waits at is referred to by memory that somebody who goes on can get at (reference_search.hpp). That
//     presupposes that one knows what it is a part of, since a pointer to the whole is enough: known are what stands on
//     the stack of a suspect (then the whole stack is taken for it), a channel of a shared_ptr of its own, a context.
//     Of everything else it is said that others may end the wait.
//   - likewise the context that its wait obeys, or one above that, since whoever refers to one may cancel it. A context
//     whose handles are all with those who wait under it was forgotten.
// Who can go on is struck off, and what its stack and function refer to can be got at from then on; until nothing
// changes. Who is left waits for ever: certainly, as far as the search can be trusted, which leak_report.hpp sees to by
// asking twice. Circles of owners and joins need no search and fall out of the same rule.
//
// Rejected: a graph of owners alone (finds circles of mutexes, and none of the leaks that people write: they leave
// channels behind); to follow the heap from the suspects on (where an object ends only the allocator knows).
#include "core/observe/leak_graph.hpp"

#include <algorithm>
#include <cstdio>
#include <map>
#include <unordered_map>

#include "core/base/clock.hpp"
#include "core/base/defer.hpp"
#include "core/context/context_look.hpp"
#include "core/fiber/backtrace.hpp"
#include "core/runtime/blocking.hpp"
#include "core/runtime/parked_frames.hpp"
#include "core/runtime/reference_search.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/wait_edges.hpp"

namespace fiberd::observe {

namespace {

using runtime::HiddenAddress;
using runtime::References;
using runtime::SearchPlan;
using runtime::WaitReason;

constexpr std::size_t kMostSuspects = 4096;
constexpr std::size_t kMostTold = 100'000;
constexpr std::size_t kMostContexts = 16'384;

/// Ended by fibers alone, and not what an idle worker waits for.
bool only_others_end(WaitReason reason) noexcept {
  return reason != WaitReason::pool && runtime::only_fibers_end(reason);
}

/// A context that a server makes for its life, a connection's or a request's: its end comes when they go.
bool of_a_server(const context::ContextLook& c) noexcept {
  const std::string_view file = c.where.file_name();
  return file.find("core/http/") != std::string_view::npos || file.find("daemon/services/") != std::string_view::npos ||
         file.ends_with("daemon/process.hpp");
}

struct Suspect {
  StuckFiber told;
  HiddenAddress frame;  // its stack in use
  HiddenAddress top;
  runtime::WaitEdges edges;
  bool goes_on = false;
  std::string because;  // it goes on
  // What ends the wait, as nodes that must not be reached, and suspects that must not go on:
  std::vector<std::uint32_t> nodes;
  std::vector<std::size_t> suspects;
  std::vector<std::size_t> contexts;  // it waits under, by place in Graph::contexts_
};

class Graph {
 public:
  explicit Graph(std::chrono::nanoseconds threshold) noexcept : threshold_(threshold.count()) {}
  LeakLook find();

 private:
  void collect(runtime::Scheduler& s);
  bool collect_one(runtime::Scheduler& s, runtime::Fiber& f, std::uint32_t index);
  void look_up_contexts();
  void place(runtime::Scheduler& s);
  void place_owner(runtime::Scheduler& s, Suspect& who);
  void place_objects(Suspect& who);
  void place_contexts(Suspect& who);
  [[nodiscard]] std::uint32_t new_node(HiddenAddress begin, std::size_t size, HiddenAddress control, std::size_t with);
  [[nodiscard]] std::uint32_t stack_that_holds(HiddenAddress at) const;
  void strike_off_who_left(runtime::Scheduler& s);
  void settle(const References& references);
  void reach(std::uint32_t node);
  void let_go_on(std::size_t suspect, std::string because);
  void tell();
  [[nodiscard]] std::string circle_from(std::size_t suspect) const;
  [[nodiscard]] std::string contexts_of(const Suspect& who) const;

  const std::int64_t threshold_;
  std::int64_t now_ = monotonic_now();
  LeakLook look_;
  std::vector<Suspect> suspects_;                              // node: place + 1
  std::unordered_map<std::uint32_t, std::size_t> by_fiber_;    // index: place
  std::vector<std::pair<HiddenAddress, std::size_t>> stacks_;  // by begin; place
  std::vector<context::ContextLook> contexts_;
  std::map<HiddenAddress, std::size_t> context_at_;  // cancellation: place
  std::vector<std::uint32_t> context_nodes_;         // 0: none
  std::map<HiddenAddress, std::uint32_t> node_at_;   // begin of an object
  std::uint32_t nodes_ = 0;
  SearchPlan plan_;
  std::vector<char> reached_;
  std::vector<std::uint32_t> work_;
  std::vector<std::vector<std::uint32_t>> refers_;
};

bool Graph::collect_one(runtime::Scheduler& s, runtime::Fiber& f, std::uint32_t index) {
  if (!f.status.begin_scan()) return true;
  const defer go_on([&] {
    if (f.status.end_scan()) s.ready(f, false);
  });
  const WaitReason reason = f.status.reason();
  const std::int64_t since = f.parked_at.load(std::memory_order_relaxed);
  if (!only_others_end(reason) || since == 0 || now_ - since < threshold_ || !f.timer.deadline().is_never())
    return true;
  const fiber::Stack* const stack = f.stack.load(std::memory_order_acquire);
  if (stack == nullptr) return true;
  Suspect& who = suspects_.emplace_back();
  who.told.origin = f.origin.get();
  who.told.index = index;
  who.told.reason = reason;
  who.told.parked_at = since;
  const fiber::StackPool& pool = *s.stack_pool(stack->stack_class);
  const auto top = reinterpret_cast<std::uintptr_t>(pool.end(*stack));
  who.frame = HiddenAddress(f.context.frame);
  who.top = HiddenAddress(top);
  const fiber::FrameRegisters registers = fiber::parked_registers(f.context);
  who.told.stack.resize(runtime::FiberView::kFrames);
  who.told.stack.resize(
      runtime::parked_frames(registers, reinterpret_cast<std::uintptr_t>(pool.lowest(*stack)), top, who.told.stack));
  const void* const object = f.waits_for.load(std::memory_order_relaxed);
  who.edges = runtime::find_wait_edges(reason, object);
  if (const runtime::Cancellation* const c = f.obeys.load(std::memory_order_relaxed))
    who.edges.cancellations.emplace_back(c);
  if (who.edges.by_itself) {
    suspects_.pop_back();
    return true;
  }
  if (object != nullptr) {
    char at[32];
    std::snprintf(at, sizeof at, "0x%zx", reinterpret_cast<std::size_t>(object));
    std::string text;
    runtime::describe_wait(reason, object, text);
    who.told.waits_for = std::string(at) + (text.empty() ? "" : ", ") + text;
  }
  return suspects_.size() < kMostTold;
}

void Graph::collect(runtime::Scheduler& s) {
  for (std::uint32_t i = 1, n = s.fiber_indices(); i < n; ++i) {
    runtime::Fiber& f = s.fiber_at(i);
    if (f.status.state() != runtime::State::parked) continue;
    ++look_.looked_at;
    // Read without holding it, for most are no suspects; those that may be are looked at again.
    if (!only_others_end(f.status.reason()) || now_ - f.parked_at.load(std::memory_order_relaxed) < threshold_)
      continue;
    if (!collect_one(s, f, i)) break;
  }
}

std::uint32_t Graph::new_node(HiddenAddress begin, std::size_t size, HiddenAddress control, std::size_t with) {
  const std::uint32_t node = ++nodes_;
  if (control) {
    const std::uintptr_t a = begin.reveal();
    const std::uintptr_t c = control.reveal();
    if (c < a && a - c <= 64) {  // make_shared: in front of it
      begin = control;
      size += a - c;
    } else {
      plan_.targets.push_back({control, with, node});
    }
  }
  plan_.targets.push_back({begin, size, node});
  return node;
}

std::uint32_t Graph::stack_that_holds(HiddenAddress at) const {
  auto it = std::upper_bound(stacks_.begin(), stacks_.end(), at,
                             [](HiddenAddress a, const auto& stack) { return a < stack.first; });
  if (it == stacks_.begin()) return 0;
  --it;
  return at < suspects_[it->second].top ? static_cast<std::uint32_t>(it->second + 1) : 0;
}

void Graph::look_up_contexts() {
  std::vector<HiddenAddress> wanted;
  for (const Suspect& who : suspects_)
    for (const HiddenAddress c : who.edges.cancellations)
      if (wanted.size() < kMostContexts) wanted.push_back(c);
  if (wanted.empty()) return;
  contexts_ = context::look_at_contexts(std::move(wanted));
  for (std::size_t i = 0; i < contexts_.size(); ++i) context_at_.emplace(contexts_[i].cancellation, i);
}

void Graph::place_owner(runtime::Scheduler& s, Suspect& who) {
  const auto self = static_cast<std::size_t>(&who - suspects_.data());
  const std::uint32_t owner = who.edges.owner;
  if (const auto at = by_fiber_.find(owner); at != by_fiber_.end()) {
    who.suspects.push_back(at->second);
    if (at->second == self) who.told.why = "it waits for itself, or for a fiber that has ended without letting go";
    return;
  }
  runtime::FiberOrigin origin;
  if (s.find_origin(owner, origin))
    let_go_on(self, "its holder goes on");
  else
    who.told.why = "its holder has ended without letting go";
}

void Graph::place_objects(Suspect& who) {
  const auto self = static_cast<std::size_t>(&who - suspects_.data());
  for (const runtime::WaitObject& o : who.edges.objects) {
    std::uint32_t node = stack_that_holds(o.at);
    if (o.task) {
      auto& known = node_at_[o.at];
      if (known == 0) {
        known = ++nodes_;
        plan_.tasks.push_back({o.at, o.size, known});
      }
      node = known;
    } else if (node == 0 && o.whole) {
      auto& known = node_at_[o.at];
      static constexpr std::size_t kControl = 32;  // its address, and the counts
      if (known == 0) known = new_node(o.at, o.size, o.control, kControl);
      node = known;
    }
    if (node == 0) return let_go_on(self, "others may refer to what it waits at");
    plan_.queues.push_back({o.at, o.size, static_cast<std::uint32_t>(self + 1)});
    who.nodes.push_back(node);
  }
}

void Graph::place_contexts(Suspect& who) {
  const auto self = static_cast<std::size_t>(&who - suspects_.data());
  for (const HiddenAddress c : who.edges.cancellations) {
    const auto at = context_at_.find(c);
    if (at == context_at_.end()) {
      let_go_on(self, "it may be cancelled");
      continue;
    }
    who.contexts.push_back(at->second);
    for (std::size_t i = at->second; i != SIZE_MAX; i = contexts_[i].above) {
      std::uint32_t& node = context_nodes_[i];
      if (contexts_[i].cut_off) let_go_on(self, "it may be cancelled from above");
      if (node != 0) continue;
      node = new_node(contexts_[i].begin, contexts_[i].size, HiddenAddress(), 0);
      for (const HiddenAddress list : contexts_[i].lists)
        plan_.links.push_back({list, context::ContextLook::kList, node});
    }
    who.nodes.push_back(context_nodes_[at->second]);
  }
}

void Graph::place(runtime::Scheduler& s) {
  const std::size_t asked = std::min(suspects_.size(), kMostSuspects);
  for (std::size_t i = 0; i < suspects_.size(); ++i) {
    Suspect& who = suspects_[i];
    if (i >= asked) {
      who.goes_on = true;
      who.because = "too many wait for it to be asked";
      continue;
    }
    by_fiber_.emplace(who.told.index, i);
    stacks_.emplace_back(who.frame, i);
    plan_.fibers.emplace_back(who.told.index, static_cast<std::uint32_t>(i + 1));
    plan_.targets.push_back({who.frame, who.top.reveal() - who.frame.reveal(), static_cast<std::uint32_t>(i + 1)});
  }
  std::sort(stacks_.begin(), stacks_.end());
  nodes_ = static_cast<std::uint32_t>(asked);
  context_nodes_.assign(contexts_.size(), 0);
  for (std::size_t i = 0; i < asked; ++i) {
    Suspect& who = suspects_[i];
    if (who.edges.owner != 0) place_owner(s, who);
    place_objects(who);
    place_contexts(who);
    if (who.edges.elsewhere) let_go_on(i, "it is not known who ends this wait");
  }
}

/// What was read of a fiber that has gone on meanwhile was not its alone.
void Graph::strike_off_who_left(runtime::Scheduler& s) {
  for (std::size_t i = 0; i < suspects_.size(); ++i) {
    const StuckFiber& told = suspects_[i].told;
    runtime::Fiber& f = s.fiber_at(told.index);
    runtime::FiberOrigin origin;
    if (f.status.state() == runtime::State::parked && f.origin.read(origin) && origin.id == told.origin.id &&
        f.parked_at.load(std::memory_order_relaxed) == told.parked_at)
      continue;
    suspects_[i].told.index = 0;
    let_go_on(i, "it has gone on");
  }
}

void Graph::let_go_on(std::size_t suspect, std::string because) {
  Suspect& who = suspects_[suspect];
  if (who.goes_on) return;
  who.goes_on = true;
  who.because = std::move(because);
}

void Graph::reach(std::uint32_t node) {
  if (reached_[node] != 0) return;
  reached_[node] = 1;
  work_.push_back(node);
}

void Graph::settle(const References& references) {
  refers_.resize(nodes_ + 1);
  reached_.assign(nodes_ + 1, 0);
  for (const auto& [from, to] : references.found) refers_[from].push_back(to);
  // Who cancels a context cancels those below.
  for (std::size_t i = 0; i < contexts_.size(); ++i)
    if (contexts_[i].above != SIZE_MAX && context_nodes_[i] != 0 && context_nodes_[contexts_[i].above] != 0)
      refers_[context_nodes_[contexts_[i].above]].push_back(context_nodes_[i]);
  // A task is ended by its runner alone.
  std::unordered_map<std::uint32_t, std::uint32_t> runner;
  for (const auto& [task, fiber] : references.runners) runner[task] = fiber;
  for (const runtime::SearchRange& task : plan_.tasks) {
    const auto fiber = runner.find(task.node);
    const auto at = fiber != runner.end() ? by_fiber_.find(fiber->second) : by_fiber_.end();
    if (at == by_fiber_.end()) {
      reach(task.node);
      continue;
    }
    for (Suspect& who : suspects_)
      if (std::find(who.nodes.begin(), who.nodes.end(), task.node) != who.nodes.end())
        who.suspects.push_back(at->second);
  }
  const bool blind = !references.incomplete.empty();
  std::vector<char> spread(suspects_.size(), 0);
  reach(References::kElsewhere);
  for (bool changed = true; changed;) {
    changed = false;
    while (!work_.empty()) {
      const std::uint32_t node = work_.back();
      work_.pop_back();
      for (const std::uint32_t to : refers_[node]) reach(to);
    }
    for (std::size_t i = 0; i < suspects_.size() && i < kMostSuspects; ++i) {
      Suspect& who = suspects_[i];
      if (!who.goes_on) {
        // Without the search only owners are known.
        if (blind && !who.nodes.empty())
          let_go_on(i, "others may refer to what it waits at");
        else if (std::any_of(who.nodes.begin(), who.nodes.end(), [this](std::uint32_t n) { return reached_[n] != 0; }))
          let_go_on(i, "others refer to what it waits at, who may end the wait");
        else if (std::any_of(who.suspects.begin(), who.suspects.end(),
                             [this](std::size_t other) { return suspects_[other].goes_on; }))
          let_go_on(i, "the fiber that it waits for may go on");
      }
      if (who.goes_on && spread[i] == 0) {
        spread[i] = 1;
        changed = true;
        reach(static_cast<std::uint32_t>(i + 1));
      }
    }
  }
}

/// Along those that are waited for by name: "fiber 5 "a" → fiber 6 "b" → fiber 5 "a"".
std::string Graph::circle_from(std::size_t suspect) const {
  static constexpr std::size_t kMost = 8;
  std::vector<std::size_t> way;
  std::size_t at = suspect;
  while (way.size() < kMost) {
    const auto met = std::find(way.begin(), way.end(), at);
    if (met != way.end()) {
      if (way.end() - met < 2) return {};
      std::string text = "they wait for each other: ";
      for (auto i = met; i != way.end(); ++i) text += describe_origin(suspects_[*i].told.origin) + " waits for ";
      return text + "fiber " + std::to_string(suspects_[at].told.origin.id);
    }
    way.push_back(at);
    if (suspects_[at].suspects.empty()) return {};
    at = suspects_[at].suspects.front();
  }
  return {};
}

std::string Graph::contexts_of(const Suspect& who) const {
  static constexpr std::size_t kMost = 4;
  std::string text;
  for (std::size_t i = 0; i < std::min(who.contexts.size(), kMost); ++i) {
    const context::ContextLook& c = contexts_[who.contexts[i]];
    text += (text.empty() ? "the context made at " : ", the context made at ") + std::string(c.where.file_name()) +
            ":" + std::to_string(c.where.line()) + " " + std::to_string(c.age_ns / 1'000'000'000) + " s ago";
  }
  return text;
}

void Graph::tell() {
  for (std::size_t i = 0; i < suspects_.size(); ++i) {
    Suspect& who = suspects_[i];
    if (who.told.index == 0) continue;
    const auto served = [this](std::size_t c) {
      for (; c != SIZE_MAX; c = contexts_[c].above)
        if (of_a_server(contexts_[c])) return true;
      return false;
    };
    // It ends when the client goes, or the server: no leak, however long that takes.
    if (who.goes_on && std::any_of(who.contexts.begin(), who.contexts.end(), served)) continue;
    // Cancelled by what is no context: the runtime's and the daemon's own fibers, until the end.
    if (who.goes_on && i < kMostSuspects && who.contexts.size() < who.edges.cancellations.size()) continue;
    who.told.certain = !who.goes_on;
    const std::string contexts = contexts_of(who);
    if (who.goes_on) {
      who.told.why = contexts.empty() ? who.because : who.because + "; nobody has cancelled " + contexts;
    } else {
      std::string circle = circle_from(i);
      if (!circle.empty())
        who.told.why = std::move(circle);
      else if (who.told.why.empty())
        who.told.why = who.suspects.empty() ? "nobody who goes on refers to what it waits at"
                                            : "the fiber that it waits for waits for ever";
      if (!contexts.empty()) who.told.why += "; nobody can cancel " + contexts;
    }
    look_.fibers.push_back(std::move(who.told));
  }
}

LeakLook Graph::find() {
  runtime::Scheduler* const s = runtime::Scheduler::instance();
  if (s == nullptr) return std::move(look_);
  collect(*s);
  if (!suspects_.empty()) {
    look_up_contexts();
    place(*s);
    References references;
    const bool all_go_on =
        std::all_of(suspects_.begin(), suspects_.end(), [](const Suspect& who) { return who.goes_on; });
    if (!all_go_on) references = runtime::search_references(plan_);
    strike_off_who_left(*s);
    settle(references);
    look_.bytes_searched = references.bytes;
    look_.not_searched = references.incomplete;
    tell();
  }
  look_.took = std::chrono::nanoseconds(monotonic_now() - now_);
  return std::move(look_);
}

}  // namespace

LeakLook look_for_leaks(std::chrono::nanoseconds threshold) {
  const auto look = [threshold] { return Graph(threshold).find(); };
  // What a fiber has on its stack would be found by the search.
  return runtime::on_fiber() ? runtime::blocking(look) : look();
}

}  // namespace fiberd::observe

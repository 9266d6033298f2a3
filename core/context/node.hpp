#pragma once
// What a Context refers to; for this room only.
//
// A handle is an intrusive reference to a Link; background is the null handle. Each link holds a reference to its
// parent. A Node is a link that can end: a runtime::Cancellation, in which waiting fibers hang. The other links carry a
// value (value.hpp), or stand between a context and what would cancel it (without_cancel); `node()` is the nearest Node
// whose end is theirs.
//
// Going done. A node knows its child nodes by an intrusive list without owning them. Under its lock the reason is set,
// once, and children and hooks are taken out, each child with a reference if it is not already dying; then, without the
// lock, the node's waiters are woken, the hooks run, and the children follow, from a work list rather than by
// recursion. No two locks are ever held together. A dying child unlinks itself under its parent's lock, so whoever
// holds that lock sees only children whose memory still lives.
//
// One end, one outcome. Whoever makes a tree done reads the clock once: a node whose time had come by then ended by its
// deadline, every other one as the node above it. And whoever finds a deadline passed looks first whether a node above
// is done and has only not come down to here yet: then it does that one's work, from the top and by that one's look at
// the clock, instead of deciding again (follow()). Without this a cancel just before a deadline would leave some below
// canceled and some expired. A deadline that passes is such a look too, at the moment before it: nobody may have looked
// at a child whose own, earlier one had passed by then, and the end of that one is not this one's.
//
// The deadline needs no timer as long as nobody depends on being told: a wait is given the deadline too, so that its
// fiber's own timer (lazy: one store) ends it and makes the context done (expire()); err() looks at the clock. Only a
// hook, or a wait on cancellation() alone, arms the timer of the node whose deadline it is; a parent's earlier deadline
// is the child's too. So a deadline that is not reached costs the store of each wait, and no place in a heap.
//
// Hooks are what after_func leaves: run once, by whoever makes the node done. A hook keeps no reference to its node (it
// would keep itself alive); the node owns one of the hook, and whoever may still take the hook back holds the node.
//
// Rejected: a timer armed by with_deadline (a heap insertion and a removal for each request whose deadline nobody
// reaches); cancelling in the destructor of the handle (handles are copied into spawned fibers, so the order in which
// copies die would become part of the meaning); a virtual destructor instead of Kind (a chain of parents must die in a
// loop, for a long one must not cost stack).
#include <atomic>
#include <cstdint>
#include <system_error>

#include "core/base/intrusive_list.hpp"
#include "core/base/lock.hpp"
#include "core/context/context.hpp"
#include "core/context/live_contexts.hpp"
#include "core/runtime/timer.hpp"

namespace fiberd::context::detail {

enum class Reason : std::uint8_t { none, canceled, deadline_exceeded };
enum class Kind : std::uint8_t { node, value, detached };

class Link {
 public:
  Link(Kind kind, Link* parent, Node* node) noexcept : kind_(kind), parent_(parent), node_(node) {
    if (parent_ != nullptr) parent_->acquire();
  }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  void acquire() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  /// False: it is dying.
  [[nodiscard]] bool try_acquire() noexcept;
  /// A chain of parents dies in a loop.
  static void release(Link* link) noexcept;
  /// reaper.hpp: what release() has put aside. On a fiber.
  static void destroy_buried(Link* link) noexcept { release(destroy(link)); }
  [[nodiscard]] Link*& next_buried() noexcept;

  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  [[nodiscard]] Link* parent() const noexcept { return parent_; }
  /// The nearest node, this one or above, whose end is this link's; nullptr: it never ends.
  [[nodiscard]] Node* node() const noexcept { return node_; }

 protected:
  ~Link() = default;

 private:
  [[nodiscard]] bool holds_foreign() const noexcept;
  [[nodiscard]] static Link* destroy(Link* link) noexcept;

  std::atomic<std::uint32_t> references_{1};
  const Kind kind_;
  Link* const parent_;
  Node* const node_;
};

struct ValueLink : Link {
  ValueLink(Link* parent, Node* node, const void* k, const void* v, void (*d)(ValueLink*) noexcept) noexcept
      : Link(Kind::value, parent, node), key(k), value(v), destroy(d) {}
  const void* const key;
  const void* const value;
  void (*const destroy)(ValueLink*) noexcept;
  Link* next_dead = nullptr;  ///< the reaper's
};

struct DetachedLink final : Link {
  explicit DetachedLink(Link* parent) noexcept : Link(Kind::detached, parent, nullptr) {}
};

/// Something to do when a node is done. Owned by the node while it is pending.
struct DoneHook : ListHook {
  enum class State : std::uint8_t { pending, fired, stopped };
  State state = State::pending;  // under the node's lock
  /// Called once, without a lock, by whoever makes the node done; gives up the node's ownership. Must not park.
  void (*run)(DoneHook& hook) noexcept = nullptr;
  /// The node dies and was never done: gives up the node's ownership.
  void (*drop)(DoneHook& hook) noexcept = nullptr;
};

struct ChildHook : ListHook {};

class Node final : public Link, public runtime::Cancellation, public ChildHook, public LiveHook {
 public:
  Node(Link* parent, Deadline deadline, std::error_code deadline_cause, SourceLocation site) noexcept;

  /// The deadline has passed: makes the ancestor done whose deadline it is, and with it this node.
  void expire() noexcept;
  /// What a CancelFunction does: makes this node and all below it done, or expires it when its time has come before.
  void cancel_tree(std::error_code cause) noexcept;

  /// As Context::err(): expires the node when its time has come.
  [[nodiscard]] std::error_code err() noexcept;
  /// err() without a look at the clock.
  [[nodiscard]] Reason reason() const noexcept { return reason_.load(std::memory_order_acquire); }
  /// Of a node that is done.
  [[nodiscard]] std::error_code cause_given() const noexcept { return cause_; }
  [[nodiscard]] Deadline deadline() const noexcept { return deadline_; }
  [[nodiscard]] std::uint32_t children() const noexcept { return child_count_.load(std::memory_order_relaxed); }
  /// Whose end is this one's, too; nullptr: nobody's. It lives as long as this one.
  [[nodiscard]] const Node* above() const noexcept { return above_; }

  /// From now on somebody depends on being told of the deadline.
  void need_timer() noexcept;
  /// False: the node is done, and the hook stays the caller's.
  [[nodiscard]] bool add_hook(DoneHook& hook) noexcept;
  /// True: it will not run, and is the caller's again.
  [[nodiscard]] bool take_hook(DoneHook& hook) noexcept;

  /// Before the parent's children are told; the parent may be done already.
  void enter_tree() noexcept;

 private:
  friend class Link;
  struct DeadlineTimer : runtime::Timer {
    explicit DeadlineTimer(Node& n) noexcept : runtime::Timer(&Node::on_deadline), node(n) {}
    Node& node;
  };
  ~Node() = default;
  static void on_deadline(runtime::Timer& timer) noexcept;
  void die() noexcept;
  void leave_parent() noexcept;
  void arm_timer() noexcept;
  [[nodiscard]] Node& deadline_owner() noexcept;
  /// How a tree ends. `now`: the one look at the clock by which those below are told from those whose own deadline had
  /// passed before; kUnread: not looked yet. Where a deadline is the end it is the moment before that.
  struct End {
    Reason reason;
    std::error_code cause;
    std::int64_t now;
  };
  static constexpr std::int64_t kUnread = INT64_MAX;
  static constexpr std::int64_t kNobodyExpired = INT64_MIN;
  /// When a node above is done, makes this one done as that one. True: it is done.
  bool follow() noexcept;
  /// Makes this node and all below it done.
  void finish(End end) noexcept;
  /// One node's part of finish(): puts the children, each with a reference, in front of `work`.
  void finish_one(End& end, Node*& work) noexcept;

  std::atomic<Reason> reason_{Reason::none};
  std::atomic<bool> timer_used_{false};
  Lock lock_;  // guards going done, `children_` and `hooks_`
  std::atomic<std::uint32_t> child_count_{0};
  Node* const above_;  // whose end is ours
  const Deadline deadline_;
  const std::error_code deadline_cause_;
  std::error_code cause_;                // written before reason_, never after; as ended_
  std::int64_t ended_ = kNobodyExpired;  // End::now, for those who find this node done before its end has come to them
  List<Node, ChildHook> children_ FIBERD_GUARDED_BY(lock_);
  List<DoneHook> hooks_;
  Link* next_dead_ = nullptr;  // the reaper's
  Node* next_work_ = nullptr;  // used by the one finish() that took this node from its parent
  DeadlineTimer timer_{*this};
};

/// for_each_live() (live_contexts.hpp) with the nodes themselves, under its rules.
void for_each_live_node(void (*visit)(void* argument, const Node& node), void* argument);

/// The door from handles to links.
struct Access {
  [[nodiscard]] static Link* link(const Context& context) noexcept { return context.link_; }
  [[nodiscard]] static Node* node(const Context& context) noexcept {
    return context.link_ != nullptr ? context.link_->node() : nullptr;
  }
  [[nodiscard]] static CancelFunction cancel_function(const Context& context) noexcept {
    return CancelFunction(context);
  }
  /// Takes over a reference.
  [[nodiscard]] static Context adopt(Link* link) noexcept { return Context(link); }
};

}  // namespace fiberd::context::detail

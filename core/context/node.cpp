#include "core/context/node.hpp"

#include <algorithm>

#include "core/context/reaper.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::context::detail {

void acquire(Link* link) noexcept { link->acquire(); }
void release(Link* link) noexcept { Link::release(link); }

bool Link::try_acquire() noexcept {
  std::uint32_t n = references_.load(std::memory_order_relaxed);
  while (n != 0)
    if (references_.compare_exchange_weak(n, n + 1, std::memory_order_acquire, std::memory_order_relaxed)) return true;
  return false;
}

/// Whether users' code is destroyed with it.
bool Link::holds_foreign() const noexcept {
  return kind_ == Kind::value || (kind_ == Kind::node && !static_cast<const Node*>(this)->hooks_.empty());
}

Link*& Link::next_buried() noexcept {
  return kind_ == Kind::value ? static_cast<ValueLink*>(this)->next_dead : static_cast<Node*>(this)->next_dead_;
}

/// Of a link to which nobody refers. Returns the parent, with the reference that the link held.
Link* Link::destroy(Link* link) noexcept {
  Link* const parent = link->parent_;
  switch (link->kind_) {
    case Kind::node: {
      auto* const node = static_cast<Node*>(link);
      node->die();
      delete node;
      break;
    }
    case Kind::value: {
      auto* const value = static_cast<ValueLink*>(link);
      value->destroy(value);
      break;
    }
    case Kind::detached: delete static_cast<DetachedLink*>(link); break;
  }
  return parent;
}

void Link::release(Link* link) noexcept {
  while (link != nullptr && link->references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    if (link->holds_foreign() && must_bury()) [[unlikely]] {
      bury(*link);
      return;
    }
    link = destroy(link);
  }
}

Node::Node(Link* parent, Deadline deadline, std::error_code deadline_cause, SourceLocation site) noexcept
    : Link(Kind::node, parent, this),
      above_(parent != nullptr ? parent->node() : nullptr),
      deadline_(above_ != nullptr ? deadline.earlier(above_->deadline_) : deadline),
      deadline_cause_(deadline_cause) {
  LiveHook::where = site;
  enter_live(*this);
}

void Node::enter_tree() noexcept {
  if (above_ == nullptr) return;
  Reason reason = Reason::none;
  {
    const LockGuard guard(above_->lock_);
    reason = above_->reason_.load(std::memory_order_relaxed);
    if (reason == Reason::none) {
      above_->children_.push_back(*this);
      above_->child_count_.store(above_->child_count_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
  }
  // As the parent, though its own deadline may have passed: it never was alive.
  if (reason != Reason::none) finish({reason, above_->cause_, kNobodyExpired});
}

/// A done context needs no place in its parent any more: a long-lived parent must not collect them.
void Node::leave_parent() noexcept {
  if (above_ == nullptr) return;
  const LockGuard guard(above_->lock_);
  if (!ChildHook::linked()) return;
  List<Node, ChildHook>::remove(*this);
  above_->child_count_.store(above_->child_count_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
}

void Node::die() noexcept {
  // First: a callback that is running still uses the node (it finds the count at zero and leaves).
  if (timer_used_.load(std::memory_order_relaxed)) timer_.cancel();
  leave_live(*this);
  // Whoever makes a node done has taken it from its parent before.
  if (reason_.load(std::memory_order_relaxed) != Reason::none) return;
  leave_parent();
  // Nobody holds a handle, so nobody can add or take back any more.
  while (DoneHook* const hook = hooks_.pop_front()) hook->drop(*hook);
  // One whose time has come is done, whether or not somebody looked.
  if (deadline_.is_never() || deadline_.ns() > monotonic_now()) count_never_canceled(LiveHook::where);
}

// ------------------------------------------------------------------------------------------- deadline

Node& Node::deadline_owner() noexcept {
  Node* owner = this;
  while (owner->above_ != nullptr && owner->above_->deadline_ == deadline_) owner = owner->above_;
  return *owner;
}

bool Node::follow() noexcept {
  while (reason() == Reason::none) {
    // From the top: a node between may be about to end by itself, and then what is below it ends as that one.
    Node* first = this;
    while (first->above_ != nullptr && first->above_->reason() == Reason::none) first = first->above_;
    if (first->above_ == nullptr) return false;
    first->finish({first->above_->reason(), first->above_->cause_, first->above_->ended_});
  }
  return true;
}

void Node::expire() noexcept {
  if (follow()) return;
  Node& owner = deadline_owner();
  owner.finish(
      {Reason::deadline_exceeded, owner.deadline_cause_, std::max(owner.deadline_.ns(), kNobodyExpired + 1) - 1});
  // Somebody else may have been first with the ancestor and not yet have come down to here.
  (void)follow();
}

std::error_code Node::err() noexcept {
  Reason reason = reason_.load(std::memory_order_acquire);
  if (reason == Reason::none) {
    if (deadline_.is_never() || deadline_.ns() > monotonic_now()) return {};
    expire();
    reason = reason_.load(std::memory_order_acquire);
  }
  return reason == Reason::canceled ? errc::canceled : errc::deadline_exceeded;
}

void Node::need_timer() noexcept {
  if (!deadline_.is_never()) deadline_owner().arm_timer();
}

void Node::arm_timer() noexcept {
  // Without a runtime there is nobody who could wait.
  if (timer_used_.load(std::memory_order_acquire) || runtime::Scheduler::instance() == nullptr) return;
  if (timer_used_.exchange(true, std::memory_order_acq_rel)) return;
  timer_.arm(deadline_);
  // A node that went done since then has disarmed it already, perhaps before it was armed.
  if (reason_.load(std::memory_order_acquire) != Reason::none) timer_.disarm();
}

void Node::on_deadline(runtime::Timer& timer) noexcept {
  Node& self = static_cast<DeadlineTimer&>(timer).node;
  if (!self.try_acquire()) return;
  self.expire();
  Link::release(&self);
}

// ------------------------------------------------------------------------------------------- going done

void Node::cancel_tree(std::error_code cause) noexcept {
  std::int64_t now = kUnread;
  // Also for those below, who may have deadlines of their own.
  if (!deadline_.is_never() || children() != 0) {
    now = monotonic_now();
    // Its time has come before, and nobody looked: then that is what ended it.
    if (deadline_.ns() <= now) return expire();
  }
  finish({Reason::canceled, cause, now});
}

void Node::finish_one(End& end, Node*& work) noexcept {
  Reason reason = end.reason;
  std::error_code cause = end.cause;
  if (!deadline_.is_never() && end.now != kNobodyExpired) {
    if (end.now == kUnread) end.now = monotonic_now();
    if (deadline_.ns() <= end.now) {
      reason = Reason::deadline_exceeded;
      cause = deadline_owner().deadline_cause_;
    }
  }
  List<DoneHook> hooks;
  {
    const LockGuard guard(lock_);
    if (reason_.load(std::memory_order_relaxed) != Reason::none) return;
    cause_ = cause;
    ended_ = end.now;
    reason_.store(reason, std::memory_order_release);
    while (Node* const child = children_.pop_front()) {
      if (!child->try_acquire()) continue;
      child->next_work_ = work;
      work = child;
    }
    child_count_.store(0, std::memory_order_relaxed);
    while (DoneHook* const hook = hooks_.pop_front()) {
      hook->state = DoneHook::State::fired;
      hooks.push_back(*hook);
    }
  }
  if (timer_used_.load(std::memory_order_acquire)) timer_.disarm();
  // After the reason: a waiter that this wakes asks err().
  cancel();
  while (DoneHook* const hook = hooks.pop_front()) hook->run(*hook);
}

void Node::finish(End end) noexcept {
  leave_parent();
  Node* work = nullptr;
  finish_one(end, work);
  while (Node* const node = work) {
    work = node->next_work_;
    node->finish_one(end, work);
    Link::release(node);
  }
}

bool Node::add_hook(DoneHook& hook) noexcept {
  {
    const LockGuard guard(lock_);
    if (reason_.load(std::memory_order_relaxed) != Reason::none) return false;
    hooks_.push_back(hook);
  }
  need_timer();
  return true;
}

bool Node::take_hook(DoneHook& hook) noexcept {
  const LockGuard guard(lock_);
  if (hook.state != DoneHook::State::pending) return false;
  hook.state = DoneHook::State::stopped;
  List<DoneHook>::remove(hook);
  return true;
}

}  // namespace fiberd::context::detail

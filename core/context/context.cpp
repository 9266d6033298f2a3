#include "core/context/context.hpp"

#include <atomic>
#include <string>

#include "core/base/intrusive_list.hpp"
#include "core/base/lock.hpp"
#include "core/runtime/timer.hpp"

namespace fiberd::context {

static std::atomic<std::uint64_t> never_canceled{0};

std::uint64_t never_canceled_count() noexcept { return never_canceled.load(std::memory_order_relaxed); }

const std::error_category& category() noexcept {
  static const class Category final : public std::error_category {
   public:
    [[nodiscard]] const char* name() const noexcept override { return "fiberd.context"; }
    [[nodiscard]] std::string message(int value) const override {
      switch (static_cast<errc>(value)) {
        case errc::canceled: return "context canceled";
        case errc::deadline_exceeded: return "context deadline exceeded";
      }
      return "unknown context error";
    }
    [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override {
      switch (static_cast<errc>(value)) {
        case errc::canceled: return std::errc::operation_canceled;
        case errc::deadline_exceeded: return std::errc::timed_out;
      }
      return {value, *this};
    }
  } instance;
  return instance;
}

namespace detail {

enum class Reason : std::uint8_t { none, canceled, deadline_exceeded };

class Node : public runtime::Cancellation, public ListHook {
 public:
  Node(Node* parent, Deadline deadline) noexcept : parent_(parent), deadline_(deadline) {
    if (parent_ != nullptr) parent_->acquire();
  }

  static Cancelable make(const Context& parent, Deadline own);
  static Node* of(const Context& context) noexcept { return context.node_; }

  void acquire() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  /// False: it is dying.
  bool try_acquire() noexcept {
    std::uint32_t n = references_.load(std::memory_order_relaxed);
    while (n != 0)
      if (references_.compare_exchange_weak(n, n + 1, std::memory_order_acquire, std::memory_order_relaxed))
        return true;
    return false;
  }
  /// A chain of parents dies in a loop: a long one must not cost stack.
  static void release(Node* node) noexcept {
    while (node != nullptr && node->references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      Node* const parent = node->parent_;
      node->die();
      delete node;
      node = parent;
    }
  }

  /// The deadline has passed: makes the ancestor done whose deadline it is, and with it this node.
  void expire() noexcept {
    Node* owner = this;
    while (owner->parent_ != nullptr && owner->parent_->deadline_ == deadline_) owner = owner->parent_;
    owner->finish(Reason::deadline_exceeded, {});
    // Somebody else may have been first with the ancestor and not yet have come down to here.
    if (owner != this) finish(owner->reason_.load(std::memory_order_acquire), owner->cause_);
  }
  /// Makes this node and all below it done.
  void finish(Reason reason, std::error_code cause) noexcept;

  [[nodiscard]] std::error_code err() const noexcept {
    switch (reason_.load(std::memory_order_acquire)) {
      case Reason::canceled: return errc::canceled;
      case Reason::deadline_exceeded: return errc::deadline_exceeded;
      case Reason::none: break;
    }
    return {};
  }
  [[nodiscard]] std::error_code cause() const noexcept {
    const std::error_code error = err();
    return error && cause_ ? cause_ : error;
  }
  [[nodiscard]] Deadline deadline() const noexcept { return deadline_; }

 private:
  struct DeadlineTimer : runtime::Timer {
    explicit DeadlineTimer(Node& n) noexcept : runtime::Timer(&Node::on_deadline), node(n) {}
    Node& node;
  };
  ~Node() = default;
  static void on_deadline(runtime::Timer& timer) noexcept;
  void die() noexcept;
  /// One node's part of finish(): puts the children, each with a reference, in front of `work`.
  void finish_one(Reason reason, std::error_code cause, Node*& work) noexcept;

  std::atomic<std::uint32_t> references_{1};
  std::atomic<Reason> reason_{Reason::none};
  Node* const parent_;
  const Deadline deadline_;
  std::error_code cause_;  // written before reason_, never after
  Lock lock_;              // guards going done and `children_`
  List<Node> children_;
  Node* next_work_ = nullptr;  // used by the one finish() that took this node from its parent
  DeadlineTimer timer_{*this};
};

void acquire(Node* node) noexcept { node->acquire(); }
void release(Node* node) noexcept { Node::release(node); }
void expire(const Context& context) noexcept {
  if (Node* const node = Node::of(context)) node->expire();
}

void Node::die() noexcept {
  // First: a callback that is running still uses the node (it finds the count at zero and leaves).
  timer_.cancel();
  if (parent_ != nullptr) {
    const LockGuard guard(parent_->lock_);
    if (ListHook::linked()) List<Node>::remove(*this);
  }
  if (reason_.load(std::memory_order_relaxed) == Reason::none) never_canceled.fetch_add(1, std::memory_order_relaxed);
}

void Node::on_deadline(runtime::Timer& timer) noexcept {
  Node& self = static_cast<DeadlineTimer&>(timer).node;
  if (!self.try_acquire()) return;
  self.finish(Reason::deadline_exceeded, {});
  release(&self);
}

void Node::finish_one(Reason reason, std::error_code cause, Node*& work) noexcept {
  {
    const LockGuard guard(lock_);
    if (reason_.load(std::memory_order_relaxed) != Reason::none) return;
    cause_ = cause;
    reason_.store(reason, std::memory_order_release);
    while (Node* const child = children_.pop_front()) {
      if (!child->try_acquire()) continue;
      child->next_work_ = work;
      work = child;
    }
  }
  timer_.disarm();
  // After the reason: a waiter that this wakes asks err().
  cancel();
}

void Node::finish(Reason reason, std::error_code cause) noexcept {
  // A done context needs no place in its parent any more: a long-lived parent must not collect them.
  if (parent_ != nullptr) {
    const LockGuard guard(parent_->lock_);
    if (ListHook::linked()) List<Node>::remove(*this);
  }
  Node* work = nullptr;
  finish_one(reason, cause, work);
  while (Node* const node = work) {
    work = node->next_work_;
    node->finish_one(reason, cause, work);
    release(node);
  }
}

Cancelable Node::make(const Context& parent, Deadline own) {
  Node* const above = parent.node_;
  const Deadline inherited = above != nullptr ? above->deadline_ : Deadline::never();
  Node* const node = new Node(above, own.earlier(inherited));
  Cancelable result{Context(node), {}};
  result.cancel = CancelFunction(result.context);
  Reason reason = Reason::none;
  if (above != nullptr) {
    const LockGuard guard(above->lock_);
    reason = above->reason_.load(std::memory_order_relaxed);
    if (reason == Reason::none) above->children_.push_back(*node);
  }
  if (reason != Reason::none) {
    node->finish(reason, above->cause_);
  } else if (own.ns() < inherited.ns()) {
    if (own.ns() <= monotonic_now()) {
      node->finish(Reason::deadline_exceeded, {});
    } else {
      node->timer_.arm(own);
      // A parent that went done since then has disarmed it already, perhaps before it was armed.
      if (node->reason_.load(std::memory_order_acquire) != Reason::none) node->timer_.disarm();
    }
  }
  return result;
}

}  // namespace detail

bool Context::done() const noexcept { return node_ != nullptr && static_cast<bool>(node_->err()); }
std::error_code Context::err() const noexcept { return node_ != nullptr ? node_->err() : std::error_code{}; }
std::error_code Context::cause() const noexcept { return node_ != nullptr ? node_->cause() : std::error_code{}; }
Deadline Context::deadline() const noexcept { return node_ != nullptr ? node_->deadline() : Deadline::never(); }
runtime::Cancellation* Context::cancellation() const noexcept { return node_; }

void CancelFunction::operator()(std::error_code cause) const noexcept {
  if (detail::Node* const node = detail::Node::of(context_)) node->finish(detail::Reason::canceled, cause);
}

Cancelable with_cancel(const Context& parent) { return detail::Node::make(parent, Deadline::never()); }
Cancelable with_deadline(const Context& parent, Deadline deadline) { return detail::Node::make(parent, deadline); }
Cancelable with_timeout(const Context& parent, std::chrono::nanoseconds timeout) {
  return with_deadline(parent, Deadline::in(timeout));
}

}  // namespace fiberd::context

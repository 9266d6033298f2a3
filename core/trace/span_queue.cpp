#include "core/trace/span_queue.hpp"

#include <new>
#include <utility>

namespace fiberd::trace {

SpanQueue::~SpanQueue() {
  List all;
  all.first = pushed_.load(std::memory_order_acquire);
  drop(all);
  drop(ordered_);
}

void SpanQueue::set_hook(void (*hook)(void*) noexcept, void* argument) noexcept {
  hook_ = hook;
  hook_argument_ = argument;
}

bool SpanQueue::add(List& list, std::string&& text) noexcept {
  const auto size = static_cast<std::uint32_t>(text.size());
  return add(list, Record{std::move(text), nullptr, 1, size});
}

bool SpanQueue::add(List& list, Record&& record) noexcept {
  Node* const node =
      new (std::nothrow) Node{list.first, std::move(record.bytes), record.writer, record.spans, record.written};
  if (node == nullptr) return false;
  const std::size_t cost = cost_of(*node);
  if (held_.fetch_add(cost, std::memory_order_relaxed) + cost > most_.load(std::memory_order_relaxed)) {
    held_.fetch_sub(cost, std::memory_order_relaxed);
    delete node;
    return false;
  }
  if (list.first == nullptr) list.last = node;
  list.first = node;
  list.count += node->spans;
  return true;
}

void SpanQueue::push(List& list) noexcept {
  if (list.first == nullptr) return;
  // Counted first: what is taken has been counted.
  const std::size_t waiting = waiting_.fetch_add(list.count, std::memory_order_relaxed) + list.count;
  Node* head = pushed_.load(std::memory_order_relaxed);
  do {
    list.last->next = head;
  } while (!pushed_.compare_exchange_weak(head, list.first, std::memory_order_seq_cst, std::memory_order_relaxed));
  list = {};
  // Either we see that it was closed, or whoever closed it sees what we have pushed.
  if (closed_.load(std::memory_order_seq_cst)) [[unlikely]] {
    List late;
    late.first = pushed_.exchange(nullptr, std::memory_order_acquire);
    for (const Node* node = late.first; node != nullptr; node = node->next) late.count += node->spans;
    waiting_.fetch_sub(late.count, std::memory_order_relaxed);
    if (late_ != nullptr && late.count != 0) late_->add(late.count);
    return drop(late);
  }
  const bool much = waiting >= tell_at_.load(std::memory_order_relaxed) ||
                    held_.load(std::memory_order_relaxed) > most_.load(std::memory_order_relaxed) / 2;
  if (hook_ != nullptr && much && !told_.load(std::memory_order_relaxed) &&
      !told_.exchange(true, std::memory_order_relaxed))
    hook_(hook_argument_);
}

void SpanQueue::drop(List& list) noexcept {
  std::size_t cost = 0;
  for (Node* node = list.first; node != nullptr;) {
    Node* const next = node->next;
    cost += cost_of(*node);
    delete node;
    node = next;
  }
  held_.fetch_sub(cost, std::memory_order_relaxed);
  list = {};
}

SpanQueue::List SpanQueue::take(std::size_t most, std::size_t bytes) noexcept {
  if (ordered_.first == nullptr) {
    told_.store(false, std::memory_order_relaxed);
    Node* newest = pushed_.exchange(nullptr, std::memory_order_acquire);
    ordered_.last = newest;
    while (newest != nullptr) {
      Node* const older = newest->next;
      newest->next = ordered_.first;
      ordered_.first = newest;
      newest = older;
    }
  }
  List taken;
  taken.first = ordered_.first;
  std::size_t size = 0;
  for (Node* node = ordered_.first; node != nullptr; node = node->next) {
    size += node->written;
    if (taken.count != 0 && (taken.count + node->spans > most || size > bytes)) break;
    taken.last = node;
    taken.count += node->spans;
  }
  if (taken.last == nullptr) return taken;
  ordered_.first = std::exchange(taken.last->next, nullptr);
  waiting_.fetch_sub(taken.count, std::memory_order_relaxed);
  return taken;
}

}  // namespace fiberd::trace

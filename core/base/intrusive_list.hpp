#pragma once
// A doubly linked list through hooks inside its elements: no allocation, O(1) removal from the middle.
// Not thread-safe. An element is in at most one list per hook type.
#include <cstddef>

namespace fiberd {

struct ListHook {
  ListHook* previous = nullptr;
  ListHook* next = nullptr;
  [[nodiscard]] bool linked() const noexcept { return previous != nullptr; }
};

/// T derives from Hook (by default ListHook itself).
template <class T, class Hook = ListHook>
class List {
 public:
  List() noexcept { head_.previous = head_.next = &head_; }
  List(const List&) = delete;
  List& operator=(const List&) = delete;

  [[nodiscard]] bool empty() const noexcept { return head_.next == &head_; }
  [[nodiscard]] T* front() const noexcept {
    return empty() ? nullptr : static_cast<T*>(static_cast<Hook*>(head_.next));
  }
  [[nodiscard]] T* back() const noexcept {
    return empty() ? nullptr : static_cast<T*>(static_cast<Hook*>(head_.previous));
  }
  /// The element after `e`, or nullptr at the end.
  [[nodiscard]] T* after(T& e) const noexcept {
    ListHook* n = static_cast<Hook&>(e).next;
    return n == &head_ ? nullptr : static_cast<T*>(static_cast<Hook*>(n));
  }
  void push_back(T& e) noexcept { link_before(static_cast<Hook&>(e), head_); }
  void push_front(T& e) noexcept { link_before(static_cast<Hook&>(e), *head_.next); }
  /// Links `e` in front of `at`, which is in a list.
  static void insert_before(T& e, T& at) noexcept { link_before(static_cast<Hook&>(e), static_cast<Hook&>(at)); }
  T* pop_front() noexcept {
    T* e = front();
    if (e != nullptr) remove(*e);
    return e;
  }
  static void remove(T& e) noexcept {
    ListHook& h = static_cast<Hook&>(e);
    h.previous->next = h.next;
    h.next->previous = h.previous;
    h.previous = h.next = nullptr;
  }

 private:
  static void link_before(ListHook& h, ListHook& at) noexcept {
    h.next = &at;
    h.previous = at.previous;
    at.previous->next = &h;
    at.previous = &h;
  }
  mutable ListHook head_;
};

}  // namespace fiberd

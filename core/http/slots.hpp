#pragma once
// Slots: values that filters and handlers keep with a request, told apart by their types alone: no names that could
// clash, no casts. Most requests have none; then it is one pointer.
#include <memory>
#include <utility>

namespace fiberd::http {

/// Not thread-safe.
class Slots {
 public:
  Slots() noexcept = default;
  Slots(const Slots&) = delete;
  Slots& operator=(const Slots&) = delete;
  ~Slots() {
    // One by one: a chain of destructors would be as deep as it is long.
    while (first_ != nullptr) first_ = std::move(first_->next);
  }

  /// The request's T, made on the first call. Throws what T's constructor does, std::bad_alloc.
  template <class T>
  [[nodiscard]] T& get() {
    if (T* const there = find<T>()) return *there;
    auto made = std::make_unique<Of<T>>();
    T& value = made->value;
    made->next = std::move(first_);
    first_ = std::move(made);
    return value;
  }
  /// nullptr when nobody has made one.
  template <class T>
  [[nodiscard]] T* find() const noexcept {
    for (Slot* s = first_.get(); s != nullptr; s = s->next.get())
      if (s->type == &Of<T>::kType) return &static_cast<Of<T>*>(s)->value;
    return nullptr;
  }

 private:
  struct Slot {
    explicit Slot(char* t) noexcept : type(t) {}
    virtual ~Slot() = default;
    char* type;
    std::unique_ptr<Slot> next;
  };
  template <class T>
  struct Of final : Slot {
    Of() : Slot(&kType) {}
    static inline char kType = 0;
    T value{};
  };
  std::unique_ptr<Slot> first_;
};

}  // namespace fiberd::http

#pragma once
// UniqueFunction: a move-only void() callable with 48 bytes of inline room (std::move_only_function is C++23).
#include <cstddef>
#include <memory>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>

#include "core/base/result.hpp"

namespace fiberd {

class UniqueFunction {
 public:
  static constexpr std::size_t kInline = 48;

  UniqueFunction() noexcept = default;
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, UniqueFunction> && std::is_invocable_v<std::decay_t<F>&>)
      UniqueFunction(F&& f) {  // NOLINT: implicit on purpose, as in std::function
    using T = std::decay_t<F>;
    using R = std::remove_cvref_t<std::invoke_result_t<T&>>;
    static_assert(
        !std::is_same_v<R, std::error_code> && !is_result<R>,
        "what this function returns would be dropped: give it to spawn_task or ErrorGroup::go, or return void");
    if constexpr (sizeof(T) <= kInline && alignof(T) <= alignof(void*) && std::is_nothrow_move_constructible_v<T>) {
      ::new (static_cast<void*>(storage_)) T(std::forward<F>(f));
      ops_ = &kInlineOps<T>;
    } else {
      T* heap = new T(std::forward<F>(f));
      ::new (static_cast<void*>(storage_)) T*(heap);
      ops_ = &kHeapOps<T>;
    }
  }
  UniqueFunction(UniqueFunction&& o) noexcept { take(o); }
  UniqueFunction& operator=(UniqueFunction&& o) noexcept {
    if (this != &o) {
      reset();
      take(o);
    }
    return *this;
  }
  ~UniqueFunction() { reset(); }

  explicit operator bool() const noexcept { return ops_ != nullptr; }
  void operator()() { ops_->call(storage_); }
  void reset() noexcept {
    if (ops_ != nullptr) std::exchange(ops_, nullptr)->destroy(storage_);
  }

 private:
  struct Ops {
    void (*call)(void*);
    void (*move)(void* from, void* to) noexcept;
    void (*destroy)(void*) noexcept;
  };
  void take(UniqueFunction& o) noexcept {
    if (o.ops_ == nullptr) return;
    o.ops_->move(o.storage_, storage_);
    ops_ = std::exchange(o.ops_, nullptr);
  }
  template <class T>
  static constexpr Ops kInlineOps{[](void* p) { (*static_cast<T*>(p))(); },
                                  [](void* from, void* to) noexcept {
                                    ::new (to) T(std::move(*static_cast<T*>(from)));
                                    static_cast<T*>(from)->~T();
                                  },
                                  [](void* p) noexcept { static_cast<T*>(p)->~T(); }};
  template <class T>
  static constexpr Ops kHeapOps{[](void* p) { (**static_cast<T**>(p))(); },
                                [](void* from, void* to) noexcept { ::new (to) T*(*static_cast<T**>(from)); },
                                [](void* p) noexcept { delete *static_cast<T**>(p); }};

  alignas(void*) std::byte storage_[kInline];
  const Ops* ops_ = nullptr;
};

}  // namespace fiberd

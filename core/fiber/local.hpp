#pragma once
// Local<T>: one T per fiber, made at first use and destroyed at the fiber's end; off fibers, one per thread.
//
//   static fiber::Local<RequestStats> stats;      // static storage duration
//   ++stats->lookups;
//
// Each fiber holds one pointer (null until the first use) to an array indexed by the Local's number.
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace fiberd::fiber {

/// Supplied by the runtime: the calling fiber's root pointer, or thread_local_root() off fibers.
using LocalRootHook = void*& (*)() noexcept;
void set_local_root_hook(LocalRootHook hook) noexcept;
/// The calling thread's own root; its values are destroyed when the thread ends.
[[nodiscard]] void*& thread_local_root() noexcept;

/// Destroys all values under `root` and frees it: called on the fiber itself at its end. Destructors may park, and may
/// use Locals; values made by destructors are destroyed in up to 4 rounds, what is left then is a BUG() and leaks.
/// A destructor that throws terminates.
void destroy_locals(void*& root) noexcept;

namespace detail {
using LocalDestructor = void (*)(void* value);
[[nodiscard]] std::uint32_t next_local_number() noexcept;
/// The value with this number under the caller's root, or nullptr.
[[nodiscard]] void* find_local(std::uint32_t number) noexcept;
/// Throws std::bad_alloc; then nothing changed.
void set_local(std::uint32_t number, void* value, LocalDestructor destructor);
}  // namespace detail

template <class T>
class Local {
 public:
  Local() noexcept : number_(detail::next_local_number()) {}
  Local(const Local&) = delete;
  Local& operator=(const Local&) = delete;

  /// The caller's T, default-constructed at its first use. The reference holds until the fiber ends.
  [[nodiscard]] T& get() {
    if (void* value = detail::find_local(number_)) [[likely]]
      return *static_cast<T*>(value);
    T* value = new T();
    try {
      detail::set_local(number_, value, [](void* p) { delete static_cast<T*>(p); });
    } catch (...) {
      delete value;
      throw;
    }
    return *value;
  }
  [[nodiscard]] T& operator*() { return get(); }
  [[nodiscard]] T* operator->() { return &get(); }

 private:
  std::uint32_t number_;
};

}  // namespace fiberd::fiber

#include "core/fiber/local.hpp"

#include <utility>
#include <vector>

#include "core/base/bug.hpp"

namespace fiberd::fiber {

namespace {

struct Value {
  void* object = nullptr;
  detail::LocalDestructor destroy = nullptr;
};
using Values = std::vector<Value>;

struct ThreadRoot {
  void* root = nullptr;
  ~ThreadRoot() { destroy_locals(root); }
};

std::atomic<std::uint32_t> numbers{0};
std::atomic<LocalRootHook> root_hook{nullptr};

// A root is the fiber's memory, not the thread's: the reference stays right when its user parks and migrates.
void*& current_root() noexcept {
  const LocalRootHook hook = root_hook.load(std::memory_order_acquire);
  return hook != nullptr ? hook() : thread_local_root();
}

}  // namespace

void set_local_root_hook(LocalRootHook hook) noexcept { root_hook.store(hook, std::memory_order_release); }

[[gnu::noinline]] void*& thread_local_root() noexcept {
  static thread_local ThreadRoot root;
  return root.root;
}

void destroy_locals(void*& root) noexcept {
  for (int round = 0; round < 4 && root != nullptr; ++round) {
    // Detached first: a destructor that uses a Local gets a new value, not a dead one.
    const auto* values = static_cast<Values*>(std::exchange(root, nullptr));
    for (auto value = values->rbegin(); value != values->rend(); ++value)
      if (value->object != nullptr) value->destroy(value->object);
    delete values;
  }
  (void)FIBERD_BUG_IF(root != nullptr);
  root = nullptr;
}

namespace detail {

std::uint32_t next_local_number() noexcept { return numbers.fetch_add(1, std::memory_order_relaxed); }

void* find_local(std::uint32_t number) noexcept {
  const auto* values = static_cast<const Values*>(current_root());
  return values != nullptr && number < values->size() ? (*values)[number].object : nullptr;
}

void set_local(std::uint32_t number, void* object, LocalDestructor destroy) {
  void*& root = current_root();
  if (root == nullptr) root = new Values;
  auto& values = *static_cast<Values*>(root);
  if (number >= values.size()) values.resize(number + 1);
  values[number] = {object, destroy};
}

}  // namespace detail

}  // namespace fiberd::fiber

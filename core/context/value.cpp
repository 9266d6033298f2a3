#include "core/context/value.hpp"

namespace fiberd::context::detail {

const void* find_value(const Context& context, const void* key) noexcept {
  for (const Link* link = Access::link(context); link != nullptr; link = link->parent()) {
    if (link->kind() != Kind::value) continue;
    const auto& found = static_cast<const ValueLink&>(*link);
    if (found.key == key) return found.value;
  }
  return nullptr;
}

}  // namespace fiberd::context::detail

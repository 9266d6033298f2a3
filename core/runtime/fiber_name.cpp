#include "core/runtime/fiber_name.hpp"

#include <cstdlib>
#include <mutex>
#include <set>
#include <string>

namespace fiberd::runtime {

void detail::a_fiber_name_must_be_a_literal_without_zeros_in_it() { std::abort(); }

FiberName FiberName::intern(std::string_view text) {
  // Never destroyed: fibers may outlive the statics.
  static auto* const mutex = new std::mutex;
  static auto* const names = new std::set<std::string, std::less<>>;
  const std::lock_guard guard(*mutex);
  auto at = names->find(text);
  if (at == names->end()) at = names->emplace(text).first;
  return {Interned(), *at};
}

}  // namespace fiberd::runtime

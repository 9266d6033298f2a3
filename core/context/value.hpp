#pragma once
// Values of a Context: what belongs to a request and passes through code that does not know it, such as a trace id or
// who is logged in. Not for what a function needs to work: that is a parameter.
//
//   inline const context::Key<std::string> kTraceId("trace id");
//   const context::Context traced = context::with_value(parent, kTraceId, std::string("4bf92f35"));
//   if (const std::string* id = context::value(traced, kTraceId)) …
//
// A key is known by its address, so two keys never meet, whatever they are called. A look-up walks from the context
// towards the root: its cost grows with their distance, as in Go.
#include <type_traits>
#include <utility>

#include "core/context/context.hpp"
#include "core/context/node.hpp"

namespace fiberd::context {

/// Make it once, with static lifetime: `inline const Key<T> name("…")`.
template <class T>
class Key {
 public:
  explicit constexpr Key(const char* name) noexcept : name_(name) {}
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
  [[nodiscard]] const char* name() const noexcept { return name_; }

 private:
  const char* name_;
};

namespace detail {
template <class T>
struct Value final : ValueLink {
  template <class U>
  Value(Link* parent, Node* node, const void* k, U&& u)
      : ValueLink(parent, node, k, &held, [](ValueLink* link) noexcept { delete static_cast<Value*>(link); }),
        held(std::forward<U>(u)) {}
  const T held;
};
[[nodiscard]] const void* find_value(const Context& context, const void* key) noexcept;
}  // namespace detail

/// `parent` with `value` under `key`, which hides an ancestor's. It ends when `parent` does. The value is destroyed
/// when the last handle to this context and those below it goes, by whoever drops it; where that is inside the
/// scheduler (a timer, a hang-up) or under a Lock, by a fiber of its own, so that its destructor may wait. Throws
/// std::bad_alloc, and what constructing the value throws.
template <class T>
[[nodiscard]] Context with_value(const Context& parent, const Key<T>& key, std::type_identity_t<T> value) {
  detail::Link* const above = detail::Access::link(parent);
  return detail::Access::adopt(
      new detail::Value<T>(above, above != nullptr ? above->node() : nullptr, &key, std::move(value)));
}

/// nullptr when neither `context` nor an ancestor has one. Valid as long as a handle to `context` lives.
template <class T>
[[nodiscard]] const T* value(const Context& context, const Key<T>& key) noexcept {
  return static_cast<const T*>(detail::find_value(context, &key));
}

}  // namespace fiberd::context

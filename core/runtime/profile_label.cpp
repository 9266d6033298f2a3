#include "core/runtime/profile_label.hpp"

#include "core/runtime/fiber.hpp"
#include "core/runtime/machine.hpp"

namespace fiberd::runtime {

ProfileLabel::ProfileLabel(std::string_view key, std::string_view value) noexcept : node_{key, value, nullptr} {
  const Machine* const m = Machine::current_machine();
  if (m == nullptr || m->current == nullptr) return;
  head_ = &m->current->labels;
  node_.next = head_->load(std::memory_order_relaxed);
  head_->store(&node_, std::memory_order_release);
}

ProfileLabel::~ProfileLabel() {
  if (head_ != nullptr) head_->store(node_.next, std::memory_order_release);
}

}  // namespace fiberd::runtime

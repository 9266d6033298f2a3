#include "core/context/context.hpp"

#include <string>

#include "core/context/node.hpp"

namespace fiberd::context {

const std::error_category& category() noexcept {
  static const class Category final : public std::error_category {
   public:
    [[nodiscard]] const char* name() const noexcept override { return "fiberd.context"; }
    [[nodiscard]] std::string message(int value) const override {
      switch (static_cast<errc>(value)) {
        case errc::canceled: return "context canceled";
        case errc::deadline_exceeded: return "context deadline exceeded";
      }
      return "unknown context error";
    }
    [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override {
      switch (static_cast<errc>(value)) {
        case errc::canceled: return std::errc::operation_canceled;
        case errc::deadline_exceeded: return std::errc::timed_out;
      }
      return {value, *this};
    }
  } instance;
  return instance;
}

using detail::Access;
using detail::Node;

void detail::expire(const Context& context) noexcept {
  if (Node* const node = Access::node(context)) node->expire();
}

std::error_code Context::err() const noexcept {
  Node* const node = Access::node(*this);
  return node != nullptr ? node->err() : std::error_code{};
}

std::error_code Context::cause() const noexcept {
  const std::error_code error = err();
  if (!error) return error;
  const std::error_code given = Access::node(*this)->cause_given();
  return given ? given : error;
}

Deadline Context::deadline() const noexcept {
  const Node* const node = Access::node(*this);
  return node != nullptr ? node->deadline() : Deadline::never();
}

runtime::Cancellation* Context::wait_point() const noexcept { return Access::node(*this); }

runtime::Cancellation* Context::cancellation() const noexcept {
  Node* const node = Access::node(*this);
  if (node != nullptr) node->need_timer();
  return node;
}

void CancelFunction::operator()(std::error_code cause) const noexcept {
  if (Node* const node = Access::node(context_)) node->cancel_tree(cause);
}

static Cancelable make(const Context& parent, Deadline deadline, std::error_code cause, SourceLocation where) {
  auto* const node = new Node(Access::link(parent), deadline, cause, where);
  Cancelable result{Access::adopt(node), {}};
  result.cancel = Access::cancel_function(result.context);
  node->enter_tree();
  return result;
}

Cancelable with_cancel(const Context& parent, SourceLocation where) {
  return make(parent, Deadline::never(), {}, where);
}

Cancelable with_deadline(const Context& parent, Deadline deadline, std::error_code cause, SourceLocation where) {
  return make(parent, deadline, cause, where);
}

Cancelable with_timeout(const Context& parent, std::chrono::nanoseconds timeout, std::error_code cause,
                        SourceLocation where) {
  return make(parent, Deadline::in(timeout), cause, where);
}

Context without_cancel(const Context& parent) {
  detail::Link* const link = Access::link(parent);
  return link != nullptr ? Access::adopt(new detail::DetachedLink(link)) : Context();
}

}  // namespace fiberd::context

#include "daemon/admin/status_page.hpp"

#include <mutex>

#include "core/base/clock.hpp"
#include "core/http/handlers.hpp"
#include "core/runtime/blocking.hpp"
#include "daemon/admin/plain_text.hpp"

namespace fiberd::daemon {

Result<std::shared_ptr<const std::string>> StatusSource::document(const context::Context& ctx) {
  static constexpr std::int64_t kFresh = 100'000'000;  // ns
  const auto guard = turn_.guard(ctx);
  if (!guard) return fail(guard.error());
  if (last_ == nullptr || monotonic_now() - made_at_ > kFresh) {
    // Not to be left half-way: the reader is the mutex's.
    last_ = runtime::blocking([this] { return std::make_shared<const std::string>(reader_.render()); });
    made_at_ = monotonic_now();
  }
  return last_;
}

http::Route status_page(StatusSource* source) {
  http::Route route;
  route.spec.path = "/debug/status";
  route.spec.methods = http::MethodSet::of(http::Method::get);
  route.handler = http::make_handler([source](http::Exchange& exchange) -> Result<void> {
    if (source == nullptr) return exchange.respond(501, kPlainText, "status: not here\n");
    // Each turn is short: who has ended his side of the connection may read on.
    const auto document = source->document(context::background());
    if (!document) return fail(document.error());
    const http::Field fresh{"Cache-Control", "no-store"};
    return exchange.respond(200, observe::StatusReader::kContentType, **document, {&fresh, 1});
  });
  return route;
}

}  // namespace fiberd::daemon

#include "core/http/filters/request_id_filter.hpp"

#include <utility>

#include "core/http/exchange.hpp"
#include "core/http/filters/request_values.hpp"
#include "core/runtime/profile_label.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http {
namespace {

class RequestIdFilter final : public Filter {
 public:
  explicit RequestIdFilter(RequestIdOptions options) : options_(std::move(options)) {}
  Result<void> serve(Exchange& ex, Next next) override {
    RequestId& id = ex.slot<RequestId>();
    const std::string_view told = ex.request().headers.find(options_.field);
    if (is_request_id(told) && trusts(ex)) {
      id.text = told;
    } else {
      const auto made = format_request_id(runtime::random(), runtime::random());
      id.text.assign(made.data(), made.size());
    }
    // In place of what the handler says: an answer has one name.
    Hook hook(options_.field, id.text);
    if (options_.answer) ex.on_head(hook);
    const runtime::ProfileLabel label("request_id", id.text);
    return next(ex);
  }

 private:
  class Hook final : public HeadHook {
   public:
    Hook(const std::string& field, const std::string& text) noexcept : field_(field), text_(text) {}
    void on_head(AnswerHead& head) override { (void)head.set(field_, text_); }

   private:
    const std::string& field_;
    const std::string& text_;
  };
  [[nodiscard]] bool trusts(const Exchange& ex) const noexcept {
    const ViaProxy* const via = ex.find_slot<ViaProxy>();
    if (options_.trust_proxies && via != nullptr && via->trusted) return true;
    return options_.trusted.contains(ex.peer());
  }
  const RequestIdOptions options_;
};

}  // namespace

Result<std::shared_ptr<Filter>> make_request_id_filter(RequestIdOptions options) {
  if (!is_writable({options.field, "x"})) return fail(std::errc::invalid_argument);
  return std::make_shared<RequestIdFilter>(std::move(options));
}

}  // namespace fiberd::http

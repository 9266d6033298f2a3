#include "core/http/filters/headers_filter.hpp"

#include <utility>

#include "core/http/exchange.hpp"
#include "core/http/filters/request_values.hpp"

namespace fiberd::http {
namespace {

constexpr std::size_t kLongestValue = 8192;

class HeadersFilter final : public Filter {
 public:
  explicit HeadersFilter(HeadersOptions options) : options_(std::move(options)) {}
  Result<void> serve(Exchange& ex, Next next) override {
    Hook hook(options_, ex);
    ex.on_head(hook);
    return next(ex);
  }

 private:
  class Hook final : public HeadHook {
   public:
    Hook(const HeadersOptions& options, Exchange& exchange) noexcept : options_(options), values_(exchange) {}
    void on_head(AnswerHead& head) override {
      for (const std::string& name : options_.remove) head.remove(name);
      for (const HeadersOptions::Value& v : options_.set)
        if (render(v)) (void)head.set(v.name, trim(text_));
      for (const HeadersOptions::Value& v : options_.add)
        if (render(v)) (void)head.add(v.name, trim(text_));
    }

   private:
    bool render(const HeadersOptions::Value& v) {
      text_.clear();
      return v.value.render(values_, Form::field, text_, kLongestValue) && !trim(text_).empty();
    }
    const HeadersOptions& options_;
    RequestValues values_;
    std::string text_;
  };
  const HeadersOptions options_;
};

}  // namespace

Result<std::shared_ptr<Filter>> make_headers_filter(HeadersOptions options, std::string* why) {
  const auto refuse = [&](const std::string& name) {
    if (why != nullptr) *why = name + ": not a field name, or one that the server alone writes";
    return fail(std::errc::invalid_argument);
  };
  for (const auto* list : {&options.set, &options.add})
    for (const HeadersOptions::Value& v : *list)
      if (!is_writable({v.name, "x"})) return refuse(v.name);
  for (const std::string& name : options.remove)
    if (!is_token(name)) return refuse(name);
  return std::make_shared<HeadersFilter>(std::move(options));
}

}  // namespace fiberd::http

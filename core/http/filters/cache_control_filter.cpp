#include "core/http/filters/cache_control_filter.hpp"

#include <utility>

#include "core/http/exchange.hpp"

namespace fiberd::http {
namespace {

class CacheControlFilter final : public Filter {
 public:
  explicit CacheControlFilter(CacheRules rules) : rules_(std::move(rules)) {}
  Result<void> serve(Exchange& ex, Next next) override {
    Hook hook(rules_, ex.path());
    ex.on_head(hook);
    return next(ex);
  }

 private:
  class Hook final : public HeadHook {
   public:
    Hook(const CacheRules& rules, std::string_view path) noexcept : rules_(rules), path_(path) {}
    void on_head(AnswerHead& head) override {
      if (!CacheRules::applies_to(head.status()) || head.has("Cache-Control")) return;
      const std::string_view value = rules_.find(path_, head.find("Content-Type"));
      if (!value.empty()) (void)head.set("Cache-Control", value);
    }

   private:
    const CacheRules& rules_;
    std::string_view path_;
  };
  const CacheRules rules_;
};

}  // namespace

std::shared_ptr<Filter> make_cache_control_filter(CacheRules rules) {
  return std::make_shared<CacheControlFilter>(std::move(rules));
}

}  // namespace fiberd::http

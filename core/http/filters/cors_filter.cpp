#include "core/http/filters/cors_filter.hpp"

#include <array>
#include <utility>

#include "core/http/exchange.hpp"
#include "core/http/filters/compression_policy.hpp"

namespace fiberd::http {
namespace {

class CorsFilter final : public Filter {
 public:
  CorsFilter(CorsPolicy policy, CorsMetrics metrics) : policy_(std::move(policy)), metrics_(metrics) {}
  Result<void> serve(Exchange& ex, Next next) override {
    using Kind = CorsDecision::Kind;
    const CorsDecision decision = policy_.decide(ex.request().method, ex.request().headers);
    if (decision.kind == Kind::preflight) return say_yes(ex, decision);
    if (decision.kind == Kind::no_preflight) return say_no(ex, decision);
    Hook hook(policy_, decision);
    ex.on_head(hook);
    return next(ex);
  }
  [[nodiscard]] bool answers_preflights() const noexcept override { return true; }

 private:
  static constexpr std::string_view kVary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

  class Hook final : public HeadHook {
   public:
    Hook(const CorsPolicy& policy, const CorsDecision& decision) noexcept : policy_(policy), decision_(decision) {}
    void on_head(AnswerHead& head) override {
      for (const char* name : {"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials",
                               "Access-Control-Expose-Headers", "Access-Control-Allow-Private-Network"})
        head.remove(name);
      if (decision_.vary_origin)
        if (const auto vary = vary_with(head.fields(), "Origin")) (void)head.set("Vary", *vary);
      if (decision_.allow_origin.empty()) return;
      (void)head.set("Access-Control-Allow-Origin", decision_.allow_origin);
      if (policy_.credentials()) (void)head.set("Access-Control-Allow-Credentials", "true");
      if (!policy_.expose().empty()) (void)head.set("Access-Control-Expose-Headers", policy_.expose());
    }

   private:
    const CorsPolicy& policy_;
    const CorsDecision& decision_;
  };

  Result<void> say_yes(Exchange& ex, const CorsDecision& decision) {
    metric::count(metrics_.preflights);
    std::array<Field, 6> fields;
    std::size_t n = 0;
    fields[n++] = {"Vary", kVary};
    fields[n++] = {"Access-Control-Allow-Origin", decision.allow_origin};
    if (policy_.credentials()) fields[n++] = {"Access-Control-Allow-Credentials", "true"};
    if (!policy_.allow_methods().empty()) fields[n++] = {"Access-Control-Allow-Methods", policy_.allow_methods()};
    if (!decision.allow_headers.empty()) fields[n++] = {"Access-Control-Allow-Headers", decision.allow_headers};
    if (!policy_.max_age().empty()) fields[n++] = {"Access-Control-Max-Age", policy_.max_age()};
    return ex.respond(204, {}, {}, {fields.data(), n});
  }

  Result<void> say_no(Exchange& ex, const CorsDecision& decision) {
    metric::count(metrics_.refused);
    ex.set_refusal("preflight");
    const Field vary{"Vary", kVary};
    const std::string text = "403 Forbidden: not allowed across origins: " + std::string(decision.reason) + "\n";
    return ex.respond(403, "text/plain; charset=utf-8", text, {&vary, 1});
  }

  const CorsPolicy policy_;
  const CorsMetrics metrics_;
};

}  // namespace

std::shared_ptr<Filter> make_cors_filter(CorsPolicy policy, CorsMetrics metrics) {
  return std::make_shared<CorsFilter>(std::move(policy), metrics);
}

}  // namespace fiberd::http

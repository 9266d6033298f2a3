#include "core/http/filters/redirect_filter.hpp"

#include <utility>

#include "core/http/exchange.hpp"
#include "core/http/filters/request_values.hpp"
#include "core/http/host.hpp"

namespace fiberd::http {
namespace {

constexpr std::size_t kLongestLocation = 8192;

class Redirect {
 public:
  explicit Redirect(RedirectRule rule) : rule_(std::move(rule)) {}

  /// Whether it was answered; `result` is how that went.
  bool answer(Exchange& ex, Result<void>& result) const {
    const Request& request = ex.request();
    if (!rule_.scheme.empty() && scheme_of(ex) != rule_.scheme) return false;
    if (!serves_host(rule_.hosts, request.host)) return false;
    // HTTP/1.0 may come without one; "https:///path" would lead to a host of the path's name.
    if (request.host.empty() && rule_.location.uses(Variable::host)) {
      result = ex.respond_error(400);
      return true;
    }
    RequestValues values(ex);
    std::string location;
    if (!rule_.location.render(values, Form::location, location, kLongestLocation)) {
      result = ex.respond_error(414);
      return true;
    }
    if (leads_back(ex, location)) return false;
    const Field field{"Location", location};
    metric::count(rule_.redirected);
    result = ex.respond(rule_.status, "text/plain; charset=utf-8", text(), {&field, 1});
    return true;
  }

 private:
  [[nodiscard]] std::string_view text() const noexcept {
    switch (rule_.status) {
      case 301: return "301 Moved Permanently\n";
      case 302: return "302 Found\n";
      case 303: return "303 See Other\n";
      case 307: return "307 Temporary Redirect\n";
      default: return "308 Permanent Redirect\n";
    }
  }
  /// Byte by byte: another spelling of the same URI is a step, and the next one is seen.
  [[nodiscard]] static bool leads_back(const Exchange& ex, std::string_view location) {
    const Request& request = ex.request();
    if (location == request.target) return true;
    const std::string_view scheme = scheme_of(ex);
    if (!location.starts_with(scheme)) return false;
    location.remove_prefix(scheme.size());
    if (!location.starts_with("://")) return false;
    location.remove_prefix(3);
    if (!location.starts_with(request.host)) return false;
    return location.substr(request.host.size()) == request.target;
  }
  const RedirectRule rule_;
};

class RedirectFilter final : public Filter {
 public:
  explicit RedirectFilter(RedirectRule rule) : redirect_(std::move(rule)) {}
  Result<void> serve(Exchange& ex, Next next) override {
    Result<void> result;
    return redirect_.answer(ex, result) ? result : next(ex);
  }

 private:
  const Redirect redirect_;
};

class RedirectHandler final : public Handler {
 public:
  explicit RedirectHandler(RedirectRule rule) : redirect_(std::move(rule)) {}
  Result<void> serve(Exchange& ex) override {
    Result<void> result;
    return redirect_.answer(ex, result) ? result : ex.respond_error(404);
  }

 private:
  const Redirect redirect_;
};

Result<void> check(const RedirectRule& rule, std::string* why) {
  const unsigned s = rule.status;
  if (s != 301 && s != 302 && s != 303 && s != 307 && s != 308) {
    if (why != nullptr) *why = "the status of a redirect is 301, 302, 303, 307 or 308";
    return fail(std::errc::invalid_argument);
  }
  if (rule.location.empty()) {
    if (why != nullptr) *why = "the location is missing";
    return fail(std::errc::invalid_argument);
  }
  return check_location(rule.location, why);
}

}  // namespace

Result<std::shared_ptr<Filter>> make_redirect_filter(RedirectRule rule, std::string* why) {
  if (const Result<void> good = check(rule, why); !good) return fail(good.error());
  return std::make_shared<RedirectFilter>(std::move(rule));
}

Result<std::shared_ptr<Handler>> make_template_redirect_handler(RedirectRule rule, std::string* why) {
  if (const Result<void> good = check(rule, why); !good) return fail(good.error());
  return std::make_shared<RedirectHandler>(std::move(rule));
}

}  // namespace fiberd::http

#include "core/http/filters/access_filter.hpp"

#include <utility>

#include "core/http/exchange.hpp"

namespace fiberd::http {
namespace {

class AccessFilter final : public Filter {
 public:
  explicit AccessFilter(AccessOptions options) : options_(std::move(options)) {}
  Result<void> serve(Exchange& ex, Next next) override {
    const net::Endpoint peer = ex.peer();
    const bool allowed = options_.allow.empty() || options_.allow.contains(peer);
    if (allowed && !options_.deny.contains(peer)) return next(ex);
    metric::count(options_.refused);
    ex.set_refusal("address");
    return ex.respond_error(403);
  }

 private:
  const AccessOptions options_;
};

}  // namespace

std::shared_ptr<Filter> make_access_filter(AccessOptions options) {
  return std::make_shared<AccessFilter>(std::move(options));
}

}  // namespace fiberd::http

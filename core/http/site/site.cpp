#include "core/http/site/site.hpp"

#include <algorithm>
#include <new>

#include "core/http/h1/workspace.hpp"
#include "core/http/site/gate_filter.hpp"

namespace fiberd::http {

Result<std::shared_ptr<const Site>> Site::make(SiteOptions options, std::vector<Route> routes, const Site* before) {
  std::vector<RouteSpec> specs;
  specs.reserve(routes.size());
  const auto holds_null = [](const std::vector<std::shared_ptr<Filter>>& filters) {
    return std::find(filters.begin(), filters.end(), nullptr) != filters.end();
  };
  if (holds_null(options.filters) || holds_null(options.outermost)) return fail(std::errc::invalid_argument);
  for (const Route& r : routes) {
    if (r.handler == nullptr || holds_null(r.filters)) return fail(std::errc::invalid_argument);
    specs.push_back(r.spec);
  }
  Result<Router> router = Router::make(specs);
  if (!router) return fail(router.error());
  auto site = std::shared_ptr<Site>(new Site(std::move(options), std::move(routes), std::move(*router)));
  const HeadLimits& head = site->options_.head;
  site->workspaces_ =
      before != nullptr && before->options_.head == head ? before->workspaces_ : std::make_shared<WorkspacePool>(head);
  return std::shared_ptr<const Site>(std::move(site));
}

Site::Site(SiteOptions options, std::vector<Route> routes, Router router)
    : options_(std::move(options)), routes_(std::move(routes)), router_(std::move(router)) {
  // Events may outlive the site. Names of routes come from a configuration: there are few.
  for (Route& r : routes_) r.trace_name = runtime::FiberName::intern(r.label.empty() ? r.spec.path : r.label);
  chain();
  wants_log_ = options_.access_log.write != nullptr;
  wants_client_ = options_.gate != nullptr && options_.gate->wants_client();
  for (const Route& r : routes_) {
    wants_log_ = wants_log_ || (r.access_log && r.access_log->write != nullptr);
    wants_client_ = wants_client_ || (r.gate != nullptr && r.gate->wants_client());
  }
  wants_client_ = wants_client_ || wants_log_;
}

Site::~Site() = default;

/// Who is asking, then the gates, then the filters from the outer ones to the inner.
void Site::chain() {
  const auto add = [](Chain& chain, const std::vector<std::shared_ptr<Filter>>& filters) {
    for (const std::shared_ptr<Filter>& filter : filters) chain.push_back(filter.get());
  };
  const auto own = [this](Gate& gate) {
    own_.push_back(std::make_unique<GateFilter>(gate));
    return own_.back().get();
  };
  Filter* const gate = options_.gate != nullptr ? own(*options_.gate) : nullptr;
  add(refused_, options_.outermost);
  add(refused_, options_.filters);
  add(unrouted_, options_.outermost);
  if (gate != nullptr) unrouted_.push_back(gate);
  add(unrouted_, options_.filters);
  chains_.reserve(routes_.size());
  beside_.reserve(routes_.size());
  for (const Route& route : routes_) {
    Beside& beside = beside_.emplace_back(Beside{unrouted_, refused_});
    add(beside.unrouted, route.filters);
    add(beside.refused, route.filters);
    beside.preflights = std::any_of(route.filters.begin(), route.filters.end(),
                                    [](const auto& filter) { return filter->answers_preflights(); });
    Chain& chain = chains_.emplace_back();
    add(chain, options_.outermost);
    if (gate != nullptr) chain.push_back(gate);
    if (route.gate != nullptr) chain.push_back(own(*route.gate));
    add(chain, options_.filters);
    add(chain, route.filters);
  }
}

void Site::stop() const {
  if (options_.gate != nullptr) options_.gate->stop();
  for (const Route& r : routes_)
    if (r.gate != nullptr) r.gate->stop();
}

}  // namespace fiberd::http

#include "daemon/filters.hpp"

#include <utility>
#include <variant>

#include "core/http/filters/access_filter.hpp"
#include "core/http/filters/cache_control_filter.hpp"
#include "core/http/filters/client_address_filter.hpp"
#include "core/http/filters/headers_filter.hpp"
#include "core/http/filters/request_id_filter.hpp"
#include "core/observe/catalogue.hpp"

namespace fiberd::daemon {
namespace {

/// One filter after the other; what is wrong with one keeps nobody from looking at the next.
class Maker {
 public:
  Maker(const FilterSurroundings& with, std::vector<Flaw>& flaws) noexcept : with_(with), flaws_(flaws) {}

  std::shared_ptr<http::Filter> operator()(const config::HeadersFilter& c) {
    http::HeadersOptions options;
    for (const auto& [name, value] : c.set) add(c.at, name, value, options.set);
    for (const auto& [name, value] : c.add) add(c.at, name, value, options.add);
    options.remove = c.remove;
    std::string why;
    return taken(http::make_headers_filter(std::move(options), &why), c.at, why);
  }
  std::shared_ptr<http::Filter> operator()(const config::AllowFilter& c) {
    http::AccessOptions options;
    options.allow = ranges_of(c.ranges);
    options.refused = with_.metrics.denied;
    return http::make_access_filter(std::move(options));
  }
  std::shared_ptr<http::Filter> operator()(const config::DenyFilter& c) {
    http::AccessOptions options;
    options.deny = ranges_of(c.ranges);
    options.refused = with_.metrics.denied;
    return http::make_access_filter(std::move(options));
  }
  std::shared_ptr<http::Filter> operator()(const config::BasicAuthFilter& c) {
    http::BasicAuthOptions options;
    options.file = c.file;
    // What is wrong with one has been told when it was read.
    if (http::is_realm(c.realm)) options.realm = c.realm;
    options.metrics = with_.metrics.basic_auth;
    options.keeps = with_.metrics.keeps;
    std::string why;
    return taken(http::make_basic_auth_filter(std::move(options), &why), c.file_at, why);
  }
  std::shared_ptr<http::Filter> operator()(const config::CorsFilter& c) {
    std::string why;
    Result<http::CorsPolicy> policy = http::CorsPolicy::make({.origins = c.origins,
                                                              .methods = c.methods,
                                                              .headers = c.headers,
                                                              .expose = c.expose,
                                                              .credentials = c.credentials,
                                                              .max_age = c.max_age},
                                                             &why);
    if (policy) return http::make_cors_filter(std::move(*policy), with_.metrics.cors);
    refuse(c.at, why, policy.error());
    return nullptr;
  }
  std::shared_ptr<http::Filter> operator()(const config::CompressFilter& c) {
    http::CompressionOptions options;
    options.codings.clear();
    for (const config::CodingConfig& coding : c.codings) {
      for (const http::Coding known : {http::Coding::gzip, http::Coding::brotli, http::Coding::zstd})
        if (coding.coding == http::token_of(known))
          options.codings.push_back({known, coding.level.value_or(http::levels_of(known).usual)});
    }
    if (c.codings.empty()) options.codings = http::CompressionOptions().codings;
    if (!c.types.empty()) options.types = c.types;
    options.min_size = c.min_size;
    options.metrics = with_.metrics.compression;
    std::string why;
    return taken(http::make_compression_filter(std::move(options), &why), c.at, why);
  }
  std::shared_ptr<http::Filter> operator()(const config::RequestIdFilter& c) {
    http::RequestIdOptions options;
    options.field = c.header;
    // Of those whom trusted_proxies names: anybody else could give all his requests one name.
    options.trust_proxies = c.accept;
    return taken(http::make_request_id_filter(std::move(options)), c.at,
                 c.header + ": not a field name, or one that the server alone writes");
  }
  std::shared_ptr<http::Filter> operator()(const config::CacheControlFilter& c) {
    std::vector<http::CacheRule> rules;
    for (const auto& [match, value] : c.rules) rules.push_back({match, value});
    std::string why;
    Result<http::CacheRules> made = http::CacheRules::make(std::move(rules), &why);
    if (made) return http::make_cache_control_filter(std::move(*made));
    refuse(c.at, why, made.error());
    return nullptr;
  }
  std::shared_ptr<http::Filter> operator()(const config::NamedFilter& c) {
    if (with_.named)
      if (std::shared_ptr<http::Filter> filter = with_.named(c.name)) return filter;
    refuse(c.name_at, "this program has no filter " + c.name, std::make_error_code(std::errc::function_not_supported));
    return nullptr;
  }

  net::AddressRanges ranges_of(const config::PlacedTexts& ranges) {
    net::AddressRanges made;
    for (std::size_t i = 0; i < ranges.texts.size(); ++i)
      if (const Result<void> added = made.add(ranges.texts[i]); !added)
        refuse(i < ranges.at.size() ? ranges.at[i] : config::Place(), ranges.texts[i] + ": " + added.error().message(),
               added.error());
    return made;
  }

 private:
  void refuse(const config::Place& at, std::string message, std::error_code error) {
    // Of values, which the loader has looked at, too: where it found something, that is the reason.
    flaws_.push_back({config::diagnostic_at(at, std::move(message)), error, ExitCode::bad_usage, at.key});
  }
  std::shared_ptr<http::Filter> taken(Result<std::shared_ptr<http::Filter>> made, const config::Place& at,
                                      const std::string& why) {
    if (made) return std::move(*made);
    refuse(at, why.empty() ? made.error().message() : why, made.error());
    return nullptr;
  }
  void add(const config::Place& at, const std::string& name, const std::string& value,
           std::vector<http::HeadersOptions::Value>& values) {
    std::string why;
    Result<http::Template> parsed = http::Template::parse(value, &why);
    if (parsed)
      values.push_back({name, std::move(*parsed)});
    else
      refuse(at, name + ": " + why, parsed.error());
  }

  const FilterSurroundings& with_;
  std::vector<Flaw>& flaws_;
};

}  // namespace

FilterMetrics make_filter_metrics(const std::string& listener, const std::shared_ptr<metric::Leases>& leases) {
  using observe::register_metric;
  metric::Registry& registry = leases->registry();
  const auto counter = [&](const char* name) { return &leases->counter(register_metric(registry, name), {listener}); };
  metric::Family& refused = register_metric(registry, "fiberd_http_filter_refused_total");
  metric::Family& bytes = register_metric(registry, "fiberd_http_compression_bytes_total");
  FilterMetrics m;
  m.denied = &leases->counter(refused, {listener, "address"});
  m.basic_auth = {.refused = &leases->counter(refused, {listener, "credentials"}),
                  .overloaded = &leases->counter(refused, {listener, "busy"}),
                  .hashed = counter("fiberd_http_passwords_checked_total"),
                  .file_errors = counter("fiberd_http_password_file_errors_total"),
                  .challenged = &leases->counter(refused, {listener, "no_credentials"})};
  m.cors = {.preflights = counter("fiberd_http_preflights_total"),
            .refused = &leases->counter(refused, {listener, "preflight"})};
  m.compression = {.compressed = counter("fiberd_http_compressed_total"),
                   .bytes_in = &leases->counter(bytes, {listener, "in"}),
                   .bytes_out = &leases->counter(bytes, {listener, "out"}),
                   .crowded = counter("fiberd_http_compression_crowded_total")};
  m.keeps = leases;
  return m;
}

std::vector<std::shared_ptr<http::Filter>> make_filters(const std::vector<config::FilterConfig>& filters,
                                                        const FilterSurroundings& with, std::vector<Flaw>& flaws) {
  Maker maker(with, flaws);
  std::vector<std::shared_ptr<http::Filter>> made;
  for (const config::FilterConfig& filter : filters)
    if (std::shared_ptr<http::Filter> one = std::visit(maker, filter)) made.push_back(std::move(one));
  return made;
}

std::shared_ptr<http::Filter> make_client_address_filter(const config::PlacedTexts& trusted,
                                                         config::ForwardedHeader field, std::vector<Flaw>& flaws) {
  if (trusted.texts.empty() || field == config::ForwardedHeader::off) return nullptr;
  const FilterSurroundings nothing;
  http::ClientAddressOptions options;
  options.trusted = Maker(nothing, flaws).ranges_of(trusted);
  options.field = field == config::ForwardedHeader::forwarded ? http::ForwardedField::forwarded
                                                              : http::ForwardedField::x_forwarded_for;
  return http::make_client_address_filter(std::move(options));
}

}  // namespace fiberd::daemon

#include "daemon/provision.hpp"

#include <algorithm>
#include <map>
#include <string_view>

#include "core/base/read_file.hpp"
#include "core/http/characters.hpp"
#include "core/http/files/files.hpp"
#include "core/http/files/mime.hpp"
#include "core/http/filters/error_respond.hpp"
#include "core/http/filters/redirect_filter.hpp"
#include "core/http/filters/template_respond.hpp"
#include "core/http/handlers.hpp"
#include "core/http/site/router.hpp"
#include "core/http/websocket/websocket.hpp"
#include "core/runtime/gomaxprocs.hpp"
#include "core/tls/ed25519.hpp"
#include "daemon/acme/sites.hpp"
#include "daemon/admin/admin_token.hpp"
#include "daemon/client_tls.hpp"
#include "daemon/filters.hpp"
#include "daemon/line_output.hpp"
#include "daemon/memory_guard.hpp"
#include "daemon/services/access_logs.hpp"
#include "daemon/this_machine.hpp"

namespace fiberd::daemon {

namespace {

/// What passes with the load is no fault of a configuration: who needs it says so when he does not get it.
bool passes(std::error_code error) noexcept {
  return error == std::errc::too_many_files_open || error == std::errc::too_many_files_open_in_system ||
         error == std::errc::not_enough_memory;
}

Result<http::ErrorPage> read_error_page(unsigned status, const std::string& path, const http::MediaTypes& types) {
  static constexpr std::size_t kMost = std::size_t{64} * 1024;
  Result<std::string> text = read_file(path, kMost + 1);
  if (!text) return fail(text.error());
  if (text->size() > kMost) return fail(std::errc::file_too_large);
  const bool names = http::names_requests(*text);
  return http::ErrorPage{status, std::string(types.find(path)), std::move(*text), names};
}

/// An error's status without a body: the page for it.
Result<std::shared_ptr<http::Handler>> make_error_answer(const config::RespondAction& respond) {
  http::ErrorRespondOptions options{.status = respond.status};
  for (const auto& [name, text] : respond.headers) {
    Result<http::Template> value = http::Template::parse(text);
    if (!value) return fail(value.error());
    options.headers.emplace_back(name, std::move(*value));
  }
  return http::make_error_respond_handler(std::move(options));
}

/// The text of a template without variables: "$$" is "$" in it.
std::string text_of(const http::Template& text) {
  class Nothing final : public http::VariableSource {
    std::string_view value(std::uint8_t /*id*/, std::string_view /*argument*/) override { return {}; }
  } nothing;
  std::string out;
  (void)text.render(nothing, http::Form::text, out);
  return out;
}

Result<std::shared_ptr<http::Handler>> make_respond(const config::RespondAction& respond, const std::string& server) {
  if (respond.error_page) return make_error_answer(respond);
  http::TemplateRespondOptions options{.status = respond.status, .content_type = respond.content_type};
  Result<http::Template> body = http::Template::parse(respond.body);
  if (!body) return fail(body.error());
  bool constant = body->constant();
  options.body = std::move(*body);
  for (const auto& [name, text] : respond.headers) {
    Result<http::Template> value = http::Template::parse(text);
    if (!value) return fail(value.error());
    constant = constant && value->constant();
    options.headers.emplace_back(name, std::move(*value));
  }
  if (!constant) return http::make_template_respond_handler(std::move(options));
  std::vector<std::pair<std::string, std::string>> headers;
  for (const auto& [name, value] : options.headers) headers.emplace_back(name, text_of(value));
  return http::make_respond_handler({respond.status, respond.content_type, text_of(options.body), headers, server});
}

Result<std::shared_ptr<http::Handler>> make_redirect(const config::RedirectAction& redirect,
                                                     const std::string& server) {
  http::RedirectRule rule;
  Result<http::Template> location = http::Template::parse(redirect.location);
  if (!location) return fail(location.error());
  if (location->constant()) return http::make_redirect_handler({text_of(*location), redirect.status, server});
  rule.location = std::move(*location);
  rule.status = redirect.status;
  return http::make_template_redirect_handler(std::move(rule));
}

Result<std::shared_ptr<http::Handler>> make_websocket(const config::WebSocketAction& socket) {
  Result<http::WebSocketRules> rules = http::WebSocketRules::make(socket.origins, socket.subprotocols);
  if (!rules) return fail(rules.error());
  return http::make_websocket_echo_handler(std::move(*rules), {.message_size = socket.message_size,
                                                               .ping_interval = socket.ping_interval,
                                                               .idle_timeout = socket.idle_timeout,
                                                               .message_timeout = socket.message_timeout,
                                                               .compression = socket.compression});
}

Result<std::shared_ptr<http::Handler>> make_handler(const config::RouteAction& action, const Handlers& handlers,
                                                    const std::shared_ptr<http::OpenFiles>& open_files,
                                                    const http::MediaTypes& types, const std::string& server) {
  if (const auto* named = std::get_if<config::HandlerAction>(&action)) {
    if (std::shared_ptr<http::Handler> handler = handlers.http(named->name)) return handler;
    return fail(std::errc::function_not_supported);
  }
  if (const auto* respond = std::get_if<config::RespondAction>(&action)) return make_respond(*respond, server);
  if (const auto* redirect = std::get_if<config::RedirectAction>(&action)) return make_redirect(*redirect, server);
  if (const auto* files = std::get_if<config::FilesAction>(&action))
    return http::make_files_handler({.root = files->root,
                                     .index = files->index,
                                     .kept = open_files,
                                     .cache_control = files->cache_control,
                                     .precompressed = files->precompressed,
                                     .try_files = files->try_files,
                                     .fallback = files->fallback,
                                     .listing = files->listing,
                                     .types = types,
                                     .ranges = files->ranges});
  if (const auto* socket = std::get_if<config::WebSocketAction>(&action)) return make_websocket(*socket);
  return http::make_echo_handler();
}

/// "PATH: what the system says", and why that may be so.
std::string about_path(const std::string& path, const Obstacle& obstacle) {
  const bool variable = path.find('$') != std::string::npos || path.starts_with('~');
  return path + ": " + obstacle.to_string() +
         (variable ? " (a path is taken as it is written: $ and ~ are not replaced)" : "");
}

http::RouteSpec spec_of(const config::RouteConfig& route) {
  http::RouteSpec spec;
  spec.path = route.path;
  spec.host = route.host;
  if (!route.methods.empty()) {
    spec.methods = {};
    for (const std::string& method : route.methods)
      spec.methods = spec.methods | http::MethodSet::of(http::method_from(method));
  } else if (std::holds_alternative<config::FilesAction>(route.action) ||
             std::holds_alternative<config::WebSocketAction>(route.action)) {
    spec.methods = http::MethodSet::of(http::Method::get);
  }
  return spec;
}

const config::Place& place_of(const config::RouteConfig& route) {
  if (const auto* files = std::get_if<config::FilesAction>(&route.action)) return files->root_at;
  if (const auto* socket = std::get_if<config::WebSocketAction>(&route.action)) return socket->at;
  if (const auto* named = std::get_if<config::HandlerAction>(&route.action)) return named->name_at;
  return route.path_at;
}

/// All of one configuration; what is asked of each part is told in provision.hpp.
class Search {
 public:
  Search(const config::Outcome& outcome, const Handlers& handlers, Provided& provided, bool wanted, HasSocket has,
         std::vector<std::string>* warnings)
      : config_(outcome.config),
        known_(outcome.diagnostics),
        handlers_(handlers),
        provided_(provided),
        wanted_(wanted),
        has_(std::move(has)),
        warnings_(warnings) {
    if (provided_.files == nullptr) provided_.files = std::make_shared<http::OpenFiles>();
  }

  std::vector<Flaw> run() {
    if (config_.listeners.empty()) return {};  // nothing was read
    // A number in the file that is none has been reported there.
    const unsigned written = config_.runtime.gomaxprocs;
    const runtime::CpuLimits cpus = runtime::detect_gomaxprocs(written <= runtime::kMostProcessors ? written : 0);
    if (!cpus.error.empty())
      add({"environment", 0, 0, ""}, cpus.error, std::make_error_code(std::errc::invalid_argument));
    if (config_.log.output != "auto" && output_kind(config_.log.output) == OutputKind::path)
      look_at_log(config_.log.output, config_.log.output_at);
    if (!config_.trace.directory.empty())
      look_at_log(config_.trace.directory + "/fiberd-trace", config_.trace.directory_at);
    look_at_token(config_.admin);
    look_at_key(config_.upgrade);
    look_at_headers(config_.tracing);
    look_at_client_tls(config_.tracing.tls);
    for (const config::ListenAddress& address : config_.metrics.addresses)
      look_at_address("metrics", address.text, address.at, {}, {}, true, false);
    look_at_address("admin", config_.admin.address, config_.admin.address_at, config_.admin.owner,
                    config_.admin.owner_at, true, false);
    for (const config::ListenerConfig& listener : config_.listeners) look_at(listener);
    // A place that is told already would be told twice.
    flaws_.erase(std::remove_if(flaws_.begin(), flaws_.end(), [this](const Flaw& flaw) { return is_known(flaw); }),
                 flaws_.end());
    std::stable_sort(flaws_.begin(), flaws_.end(), [](const Flaw& a, const Flaw& b) {
      return std::pair(a.diagnostic.line, a.diagnostic.column) < std::pair(b.diagnostic.line, b.diagnostic.column);
    });
    return std::move(flaws_);
  }

 private:
  void add(const config::Place& at, std::string message, std::error_code error, ExitCode code = ExitCode::bad_usage) {
    flaws_.push_back({config::diagnostic_at(at, std::move(message)), error, code});
  }
  [[nodiscard]] bool is_known(const Flaw& flaw) const {
    // What could not be had now is missing from what was provided: only who throws that away may overlook it.
    return (!wanted_ && passes(flaw.error)) ||
           std::any_of(known_.begin(), known_.end(), [&](const config::Diagnostic& d) {
             if (!flaw.part.empty() && d.key.starts_with(flaw.part)) return true;
             return d.source == flaw.diagnostic.source && d.key == flaw.diagnostic.key;
           });
  }
  void look_at_log(const std::string& path, const config::Place& at) {
    if (path.empty()) return;
    if (const Obstacle why = why_not_appendable(path)) add(at, about_path(path, why), why.error);
  }
  void look_at_token(const config::AdminConfig& admin) {
    if (admin.token_file.empty()) return;
    std::string why;
    if (const auto token = read_token(admin.token_file, why); !token) add(admin.token_file_at, why, token.error());
  }
  void look_at_key(const config::UpgradeConfig& upgrade) {
    if (upgrade.public_key.empty()) return;
    const Result<std::string> text = read_file(upgrade.public_key, std::size_t{16} * 1024, NotRegular::refuse);
    const std::error_code error = text ? error_of(tls::check_ed25519_key(*text)) : text.error();
    if (error)
      add(upgrade.public_key_at, about_path(upgrade.public_key, {error, text ? "no Ed25519 public key in PEM" : ""}),
          error);
  }
  void look_at_headers(const config::TracingConfig& tracing) {
    if (tracing.headers_file.empty()) return;
    std::string why;
    if (auto headers = read_collector_headers(tracing.headers_file, why))
      provided_.collector_headers = std::move(*headers);
    else
      add(tracing.headers_file_at, why, headers.error());
  }
  void look_at_client_tls(const config::ClientTlsConfig& tls) {
    std::string why;
    config::Place at;
    if (auto made = make_client_tls(tls, why, at))
      provided_.collector_tls = std::move(*made);
    else
      add(at, why, made.error());
  }
  void look_at_access_log(const config::AccessLogConfig& log, const std::string& listener) {
    if (log.format == config::AccessLogFormat::off) return;
    // What a route has from its listener is told once.
    const auto told = [this](const config::Place& at) {
      return std::any_of(flaws_.begin(), flaws_.end(), [&](const Flaw& flaw) {
        return flaw.diagnostic.key == at.key && flaw.diagnostic.source == at.source;
      });
    };
    if (log.output != "stdout" && log.output != "stderr" && !told(log.output_at))
      look_at_log(log.output, log.output_at);
    if (told(log.line_at)) return;
    if (const Result<AccessLine> line = access_line(log, listener); !line && line.error() == std::errc::message_size)
      add(log.line_at,
          "is too long: a line has at most " + std::to_string(AccessLine::kMost) +
              " bytes, and what clients send needs room in it; leave out fields or text",
          line.error());
  }
  void look_at_address(const std::string& who, const std::string& address, const config::Place& at,
                       const std::string& owner_text, const config::Place& owner_at, bool tcp, bool udp) {
    FileOwner owner;
    std::string error;
    if (!find_owner(owner_text, owner, error)) add(owner_at, error, std::make_error_code(std::errc::invalid_argument));
    const Result<net::Endpoint> endpoint = net::Endpoint::parse(address);
    if (!endpoint) return;  // off, or reported when it was read
    tcp = tcp && !(has_ && has_(who, address, false));
    udp = udp && !(has_ && has_(who, address, true));
    if (const Obstacle why = tcp || udp ? why_not_bindable(*endpoint, tcp, udp, owner) : Obstacle{})
      add(at, "cannot bind " + address + ": " + why.to_string(), why.error, ExitCode::cannot_bind);
    if (endpoint->family() != AF_UNIX) return;
    const std::string identity = identity_of(std::string(endpoint->path()));
    if (identity.empty()) return;
    const auto [first, fresh] = unix_sockets_.emplace(identity, who);
    if (!fresh)
      add(at, "cannot bind " + address + ": it is the same file as the socket of " + first->second,
          std::make_error_code(std::errc::address_in_use), ExitCode::cannot_bind);
  }
  void look_at_tls(const config::ListenerConfig& listener) {
    provided_.tls.emplace_back();
    if (!listener.tls) return;
    if (const auto& acme = listener.tls->acme) {
      // Of names that are none nothing can be made.
      const std::string& key = acme->at.key;
      if (acme->domains.empty() || std::any_of(known_.begin(), known_.end(),
                                               [&](const config::Diagnostic& d) { return d.key.starts_with(key); }))
        return;
      acme::look_for_flaws(*acme, flaws_);
    }
    if (certificates_ == nullptr) certificates_ = std::make_unique<tls::CertificateLoader>();
    const auto before = provided_.tls_before.find(listener.name);
    auto parts = std::make_shared<const TlsParts>(
        read_tls_parts(*listener.tls, alpn_of(listener),
                       before != provided_.tls_before.end() ? before->second.get() : nullptr, *certificates_, flaws_));
    if (parts->context == nullptr) return;
    if (warnings_ != nullptr)
      for (std::string& warning : warn_of_tls(*listener.tls, *parts)) warnings_->push_back(std::move(warning));
    provided_.tls.back() = std::move(parts);
  }
  void look_at(const config::ListenerConfig& listener) {
    const auto* const aggregate = std::get_if<config::AggregateConfig>(&listener.service);
    const bool tcp = aggregate == nullptr || aggregate->protocol != config::AggregateProtocol::udp;
    const bool udp = aggregate != nullptr && aggregate->protocol != config::AggregateProtocol::tcp;
    for (const config::ListenAddress& address : listener.addresses)
      look_at_address(listener.name, address.text, address.at, listener.owner, listener.owner_at, tcp, udp);
    look_at_tls(listener);
    if (aggregate != nullptr)
      for (const config::AggregateFlush& flush : aggregate->flush) {
        std::string why;
        config::Place at;
        if (const auto made = make_client_tls(flush.tls, why, at); !made) add(at, why, made.error());
      }
    const auto* const http = std::get_if<config::HttpConfig>(&listener.service);
    provided_.http.emplace_back();
    if (http == nullptr) return;
    look_at_access_log(http->access_log, listener.name);
    for (const config::RouteConfig& route : http->routes)
      if (route.access_log) look_at_access_log(*route.access_log, listener.name);
    provided_.http.back() = provision_http(*http,
                                           {listener.name, handlers_, provided_.files, config_.trusted_proxies,
                                            provided_.registry, !listener.tls && acme::wants_http(config_)},
                                           flaws_);
  }

  const config::Config& config_;
  const std::vector<config::Diagnostic>& known_;
  const Handlers& handlers_;
  Provided& provided_;
  const bool wanted_;
  const HasSocket has_;
  std::vector<std::string>* const warnings_;
  std::unique_ptr<tls::CertificateLoader> certificates_;  // once there is a listener with TLS
  std::map<std::string, std::string> unix_sockets_;
  std::vector<Flaw> flaws_;
};

}  // namespace

HttpParts provision_http(const config::HttpConfig& config, const HttpSurroundings& with, std::vector<Flaw>& flaws) {
  HttpParts parts;
  const std::size_t before = flaws.size();
  const auto add = [&](const config::Place& at, std::string message, std::error_code error, std::string part = {}) {
    flaws.push_back({config::diagnostic_at(at, std::move(message)), error, ExitCode::bad_usage, std::move(part)});
  };
  // What is wrong with one has been told when it was read.
  const http::MediaTypes types = http::MediaTypes::make(config.mime_types).value_or(http::MediaTypes());
  const auto read_pages = [&](const std::vector<config::ErrorPageConfig>& pages) {
    std::vector<http::ErrorPage> all;
    for (const config::ErrorPageConfig& page : pages) {
      Result<http::ErrorPage> read = read_error_page(page.status, page.file, types);
      if (read)
        all.push_back(std::move(*read));
      else
        add(page.file_at, about_path(page.file, {read.error()}), read.error());
    }
    return all;
  };
  const std::string server = http::is_field_value(config.server) ? config.server : std::string();
  parts.error_pages = read_pages(config.error_pages);
  FilterSurroundings around{.named = [&](std::string_view name) { return with.handlers.filter(name); }};
  const bool filtered = !config.filters.empty() || std::any_of(config.routes.begin(), config.routes.end(),
                                                               [](const auto& r) { return !r.filters.empty(); });
  if (with.registry != nullptr && filtered) {
    parts.leases = std::make_shared<metric::Leases>(*with.registry);
    around.metrics = make_filter_metrics(with.listener, parts.leases);
  }
  parts.filters = make_filters(config.filters, around, flaws);
  if (with.challenges) parts.outermost.push_back(std::make_shared<acme::HttpChallengeFilter>(acme::board()));
  if (auto client = make_client_address_filter(with.trusted, config.forwarded, flaws))
    parts.outermost.push_back(std::move(client));
  std::vector<http::RouteSpec> specs;
  for (const config::RouteConfig& r : config.routes) {
    http::Route route;
    route.spec = spec_of(r);
    specs.push_back(route.spec);
    route.body_size = r.body_size;
    route.require_length = r.require_length;
    route.priority = static_cast<flow::Priority>(r.priority);
    route.request_timeout = r.timeout;
    route.filters = make_filters(r.filters, around, flaws);
    route.error_pages = read_pages(r.error_pages);
    auto handler = make_handler(r.action, with.handlers, with.files, types, server);
    if (handler) {
      route.handler = std::move(*handler);
    } else {
      const auto* const files = std::get_if<config::FilesAction>(&r.action);
      // Of values and not of this machine; which value it is a handler does not say.
      const bool value = handler.error() == std::errc::invalid_argument;
      const std::string& key = r.path_at.key;
      add(place_of(r), files != nullptr ? about_path(files->root, {handler.error()}) : handler.error().message(),
          handler.error(), value ? key.substr(0, key.rfind('.') + 1) : std::string());
    }
    parts.routes.push_back(std::move(route));
  }
  if (flaws.size() == before && !config.routes.empty())
    if (const Result<http::Router> router = http::Router::make(specs); !router)
      add(config.routes.front().path_at, "the routes do not go together: " + router.error().message(), router.error(),
          config.routes.front().path_at.key.substr(0, config.routes.front().path_at.key.rfind('[')));
  parts.whole = flaws.size() == before;
  return parts;
}

std::vector<Flaw> provision(const config::Outcome& outcome, const Handlers& handlers, Provided* provided, HasSocket has,
                            std::vector<std::string>* warnings, TlsPartsByName* tls) {
  Provided nobody_wants;
  Provided& found = provided != nullptr ? *provided : nobody_wants;
  std::vector<Flaw> flaws = Search(outcome, handlers, found, provided != nullptr, std::move(has), warnings).run();
  for (std::size_t i = 0; tls != nullptr && i < found.tls.size(); ++i)
    if (found.tls[i] != nullptr) tls->emplace(outcome.config.listeners[i].name, found.tls[i]);
  return flaws;
}

std::vector<std::string> forewarn(const config::Config& config) {
  std::vector<std::string> warnings{
      runtime::detect_gomaxprocs(config.runtime.gomaxprocs).warning, find_memory_limit(config.memory.limit).warning,
      warn_of_token_file(config.admin.token_file), warn_of_headers_file(config.tracing.headers_file),
      tls::warn_of_key_file(config.tracing.tls.key)};
  warnings.erase(std::remove(warnings.begin(), warnings.end(), ""), warnings.end());
  return warnings;
}

}  // namespace fiberd::daemon

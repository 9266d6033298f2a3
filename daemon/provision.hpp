#pragma once
// Provisioning: what a configuration that the loader took needs of this machine is looked for, and all that is missing
// is told with its place. `check` and `run` ask the same function, so that they say the same; `run` asks it before
// anything else, and what it opens later it opens by the same functions. Nothing that others could notice is done.
//
// What only doing it can tell is not told: a port that another program has, limits of descriptors and memory, and what
// changes between the look and the start.
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "config/config.hpp"
#include "core/http/files/open_files.hpp"
#include "core/http/server.hpp"
#include "core/http/site/error_page.hpp"
#include "core/metric/registry.hpp"
#include "core/tls/client_context.hpp"
#include "core/tls/current_context.hpp"
#include "daemon/exit_code.hpp"
#include "daemon/handlers.hpp"
#include "daemon/tls_parts.hpp"
#include "daemon/tracing/collector_headers.hpp"

namespace fiberd::daemon {

/// Something that this machine, or this program, does not have as the configuration names it.
struct Flaw {
  config::Diagnostic diagnostic;
  std::error_code error;
  ExitCode code = ExitCode::bad_usage;
  /// Not empty: a part was refused as a whole. What the loader found wrong with keys that begin so is the reason.
  std::string part{};
};

/// What an HTTP listener consists of but for its limits, logs and counters.
struct HttpParts {
  std::vector<http::ErrorPage> error_pages;
  std::vector<http::Route> routes;                         ///< one for each of the configuration, in its order
  std::vector<std::shared_ptr<http::Filter>> filters{};    ///< of all of them
  std::vector<std::shared_ptr<http::Filter>> outermost{};  ///< who the client is behind trusted proxies
  bool whole = false;                                      ///< nothing of it is missing; else it is not to be served
  std::shared_ptr<metric::Leases> leases{};                ///< of what the filters count with; null: they do not count
  std::shared_ptr<tls::CurrentContext> tls{};              ///< null: connections are not encrypted
};

/// What is around a listener's parts.
struct HttpSurroundings {
  const std::string& listener;
  const Handlers& handlers;
  const std::shared_ptr<http::OpenFiles>& files;
  const config::PlacedTexts& trusted;  ///< Config::trusted_proxies
  metric::Registry* registry;          ///< null: the parts are made to be looked at, and do not count
  bool challenges = false;             ///< it answers authorities that look for http-01
};
/// Reads the error pages and password files, opens the roots, finds the handlers, makes the filters, and has the routes
/// tried together. What is wrong is added to `flaws`; then the parts are not to be used.
[[nodiscard]] HttpParts provision_http(const config::HttpConfig& config, const HttpSurroundings& with,
                                       std::vector<Flaw>& flaws);

/// What was opened while it was looked for: for who goes on to serve it.
struct Provided {
  metric::Registry* registry = nullptr;                       ///< to count with; before
  std::shared_ptr<http::OpenFiles> files{};                   ///< to open files by; before
  CollectorHeaders collector_headers{};                       ///< of tracing.headers_file
  std::shared_ptr<const tls::ClientContext> collector_tls{};  ///< of tracing.tls; may be null
  std::vector<HttpParts> http{};  ///< for each listener of the configuration; empty for one that is no HTTP
  /// Of listeners by their names, as they are served; before.
  TlsPartsByName tls_before{};
  std::vector<std::shared_ptr<const TlsParts>> tls{};  ///< for each listener; null for one without
};

/// Whether there is a socket for this address of this listener, which then need not be bound.
using HasSocket = std::function<bool(std::string_view listener, const std::string& address, bool datagrams)>;

/// Everything that is missing, in the order of the file. With what the loader found wrong in `outcome` already, the
/// rest is still looked for, but not twice at one key. `provided` (may be null) is to be used if nothing is missing.
/// Without it, what passes with the load of the machine (no descriptor, no memory just now) is not told. Empty `has`:
/// there are no sockets yet. `warnings` (may be null): what is to be said of what is there and good, as yet. `tls` (may
/// be null) gets what was read of certificates, for who goes on to serve them.
[[nodiscard]] std::vector<Flaw> provision(const config::Outcome& outcome, const Handlers& handlers,
                                          Provided* provided = nullptr, HasSocket has = {},
                                          std::vector<std::string>* warnings = nullptr, TlsPartsByName* tls = nullptr);

/// Of a configuration that is right: what `run` warns of before it looks at anything but this machine and the
/// environment. `check` says it, too.
[[nodiscard]] std::vector<std::string> forewarn(const config::Config& config);

}  // namespace fiberd::daemon

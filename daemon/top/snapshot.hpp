#pragma once
// A status document (docs/status.md) as `fiberd top` reads it, and what lies between two of them.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fiberd::daemon::top {

/// A certificate that is served.
struct CertificateLine {
  std::string listener{};
  std::string file{};
  double not_after = 0;  ///< Unix time
};

struct ProcessorLine {
  std::uint64_t index = 0;
  double busy_seconds = 0;
  double queue = 0;
};
struct SiteLine {
  std::string site, name, reason;
  double count = 0, waiting = 0, runnable = 0, running = 0;
  double oldest_seconds = 0;
};
struct RouteLine {
  std::string listener, route;
  double requests = 0, in_flight = 0, sent_bytes = 0;
  double ok = 0, client_errors = 0, server_errors = 0;  ///< 2xx and 3xx; 4xx; 5xx
  std::vector<double> buckets;                          ///< as many as latency_bounds, and one more
};
struct RefusalLine {
  std::string what, labels;
  double count = 0;
};
struct ListenerLine {
  std::string name, what;
  std::vector<std::string> addresses;
  double connections = 0, active = 0, idle = 0, accepted = 0, refused = 0;
};
/// As top shows what /debug/status says at one moment.
struct Snapshot {
  std::string version;
  double at = 0;  ///< monotonic seconds
  double pid = 0, uptime_seconds = 0, cpu_seconds = 0, resident_bytes = 0, open_fds = 0, max_fds = 0, threads = 0;
  double switches = 0, steals = 0, handoffs = 0;
  double waiting = 0, runnable = 0, running = 0, created = 0;
  double stacks_in_use = 0, stack_reserved = 0, stack_resident = 0;
  double computes = 0, blocks = 0, robbed = 0;
  double connections = 0, accepted = 0;
  double leaks = 0;
  bool has_leaks = false;
  std::vector<ProcessorLine> processors;
  std::vector<SiteLine> sites;
  std::vector<RouteLine> routes;
  std::vector<RefusalLine> refusals;
  std::vector<double> latency_bounds;  ///< seconds
  std::vector<ListenerLine> listeners;
  // What `fiberd status` tells besides. A fiberd of before knows nothing of it.
  bool has_reloads = false, last_reload_successful = false, knows_ready = false, ready = false;
  double now_seconds = 0, loaded_seconds = 0;  ///< Unix time: the document's, and that of the last good load
  double reloads_done = 0, reloads_refused = 0;
  std::string configuration;
  std::vector<CertificateLine> certificates{};  ///< those that end first
};

/// Errors: a sentence in `why`, and nothing: it is no JSON, or of a schema that is not known here.
[[nodiscard]] std::optional<Snapshot> parse_snapshot(std::string_view text, std::string& why);

/// A route between two looks.
struct RouteRates {
  const RouteLine* route = nullptr;
  double requests = 0, errors = 0, sent_bytes = 0;  ///< a second; errors: 4xx and 5xx
  std::optional<double> p50, p90, p99;              ///< seconds; of the requests in between, nothing where none were
};
struct Rates {
  double seconds = 0;                                                 ///< between the two
  double cpu = 0;                                                     ///< Processors' worth
  double requests = 0, ok = 0, client_errors = 0, server_errors = 0;  ///< a second, without the admin listener's own
  double in_flight = 0;
  std::optional<double> p50, p90, p99;
  double switches = 0, steals = 0, created = 0, accepted = 0, stalls = 0, refused = 0;
  std::vector<double> load;  ///< of Snapshot::processors, 0 … 1
  std::vector<RouteRates> routes;
  std::vector<double> refusals;  ///< of Snapshot::refusals, a second
};
/// `now` must outlive it. Of different processes, or without time in between: rates of 0.
[[nodiscard]] Rates rates_between(const Snapshot& before, const Snapshot& now);

/// The value below which a share `q` of what is counted lies; `counts` has one more than `bounds`. Nothing: none is.
[[nodiscard]] std::optional<double> quantile(const std::vector<double>& counts, const std::vector<double>& bounds,
                                             double q);

/// One object: the rates, and the document as it was sent (which parse_snapshot took).
[[nodiscard]] std::string render_json(const Snapshot& now, const Rates& rates, std::string_view document);

}  // namespace fiberd::daemon::top

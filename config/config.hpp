#pragma once
// The configuration as typed structs, and how it is loaded. The keys, their defaults, ranges and help: schema.hpp.
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "config/filters.hpp"
#include "config/place.hpp"
#include "config/tls.hpp"
#include "config/tracing.hpp"
#include "core/base/log.hpp"
#include "core/base/read_file.hpp"

namespace fiberd::config {

enum class StackGuards : std::uint8_t { automatic, require, canary };
enum class LogLevel : std::uint8_t { debug, info, warning, error };
enum class LogFormat : std::uint8_t { text, json };
enum class AccessLogFormat : std::uint8_t { off, common, json, combined, written };

struct RuntimeConfig {
  unsigned gomaxprocs = 0;  ///< 0: auto
  std::uint64_t stack_size = 256 * 1024;
  std::uint64_t small_stack_size = 64 * 1024;
  std::uint64_t large_stack_size = 8 * 1024 * 1024;
  StackGuards stack_guards = StackGuards::automatic;
  bool stack_learning = false;
  std::chrono::nanoseconds stack_trim_after = std::chrono::minutes(2);  ///< 0: never
  unsigned blocking_threads = 64;
  unsigned handoff_max = 4;
  unsigned machines_max = 10'000;
  Place gomaxprocs_at{};
  bool operator==(const RuntimeConfig&) const = default;
};

struct MemoryConfig {
  std::uint64_t limit = 0;  ///< bytes of the process's own; 0: auto, the cgroup's limits alone
  bool governor = true;
  unsigned trim_at = 80;  ///< percent of a limit
  unsigned shed_at = 95;  ///< more than trim_at
  bool operator==(const MemoryConfig&) const = default;
};

struct LeaksConfig {
  std::chrono::nanoseconds threshold = std::chrono::minutes(10);  ///< 0: nobody looks
  std::vector<std::string> ignore;                                ///< names of fibers
  bool operator==(const LeaksConfig&) const = default;
};

/// What the sampled profiles look at.
struct ProfilesConfig {
  std::uint64_t heap_rate = 512 * 1024;    ///< bytes between two samples; 0: off
  std::chrono::nanoseconds block_rate{0};  ///< time of waits that a sample stands for; 0: off
  unsigned mutex_fraction = 0;             ///< one in so many contended unlocks; 0: off
  bool operator==(const ProfilesConfig&) const = default;
};

/// The flight recorder, and when its trace is kept in a file.
struct TraceConfig {
  std::uint64_t buffer = std::uint64_t{1} << 20U;  ///< bytes of a Processor's ring at most; 0: off
  std::chrono::nanoseconds min_age = std::chrono::seconds(10);
  std::chrono::nanoseconds on_latency{0};  ///< 0: no request is too slow
  bool on_stall = false;
  std::string directory;  ///< empty: no files
  unsigned max_files = 8;
  std::uint64_t max_bytes = std::uint64_t{256} << 20U;  ///< of all files together
  std::chrono::nanoseconds interval = std::chrono::minutes(1);
  Place directory_at{};
  bool operator==(const TraceConfig&) const = default;
};

struct LogConfig {
  LogLevel level = LogLevel::info;
  LogFormat format = LogFormat::text;
  std::string output = "auto";
  /// Of modules that have a level of their own.
  std::vector<std::pair<LogModule, LogLevel>> modules{};
  Place output_at{};
  bool operator==(const LogConfig&) const = default;
};

struct ShutdownConfig {
  std::chrono::nanoseconds delay{0};
  std::chrono::nanoseconds timeout = std::chrono::seconds(30);
  std::chrono::nanoseconds idle = std::chrono::seconds(1);  ///< before an idle connection that goes on is closed
  bool operator==(const ShutdownConfig&) const = default;
};

struct UpgradeConfig {
  std::chrono::nanoseconds timeout = std::chrono::seconds(60);  ///< until the new process is ready
  std::string public_key;                                       ///< file; empty: programs need no signature
  Place public_key_at{};
  bool operator==(const UpgradeConfig& o) const { return timeout == o.timeout && public_key == o.public_key; }
};

/// What is done with the configuration's files themselves.
struct FilesConfig {
  bool watch = false;  ///< a change of them is a reload
  bool operator==(const FilesConfig&) const = default;
};

struct AdminConfig {
  std::string address = "127.0.0.1:9090";  ///< empty: off
  std::uint32_t mode = 0600;               ///< of a Unix socket's file
  std::string owner;                       ///< of a Unix socket's file: user, user:group, user: or :group
  std::vector<std::string> hosts;          ///< lower case; beside IP addresses and localhost
  bool ipv6_only = false;                  ///< as ListenerConfig's
  bool by_default = true;                  ///< nobody asked for this address: where it is taken, go on without
  std::string token_file;                  ///< of what a client must know; empty: nothing
  Place address_at{};
  Place owner_at{};
  Place token_file_at{};
  bool operator==(const AdminConfig&) const = default;
};

struct ListenAddress {
  std::string text{};
  /// Of "[::]:PORT" whose IPv4 half is another's: 0.0.0.0:PORT stands beside it (addresses.hpp).
  bool ipv6_only = false;
  Place at{};
  bool operator==(const ListenAddress&) const = default;
};

/// Where /metrics, /healthz and /readyz are beside the admin listener, without anything else.
struct MetricsConfig {
  std::vector<ListenAddress> addresses;  ///< empty: nowhere
  bool operator==(const MetricsConfig&) const = default;
};

struct RespondAction {
  unsigned status = 200;
  std::string body;  ///< a template of request variables
  std::string content_type = "text/plain; charset=utf-8";
  std::vector<std::pair<std::string, std::string>> headers;  ///< values are templates, as body
  /// No body was written, and the status is an error's: its body is the page for it.
  bool error_page = false;
  bool operator==(const RespondAction&) const = default;
};
struct EchoAction {
  bool operator==(const EchoAction&) const = default;
};
struct RedirectAction {
  std::string location;  ///< a template of request variables
  unsigned status = 308;
  bool operator==(const RedirectAction&) const = default;
};
struct FilesAction {
  std::string root;
  std::vector<std::string> index{"index.html"};
  std::string cache_control;
  std::vector<std::string> precompressed;  ///< of "br", "zstd", "gzip"
  std::vector<std::string> try_files;
  std::string fallback;
  bool listing = false;
  unsigned ranges = 16;
  Place root_at{};
  bool operator==(const FilesAction&) const = default;
};
/// Sends each message back.
struct WebSocketAction {
  std::uint64_t message_size = std::uint64_t{1024} * 1024;
  std::chrono::nanoseconds ping_interval = std::chrono::seconds(30);  ///< 0: none
  std::chrono::nanoseconds idle_timeout = std::chrono::seconds(75);   ///< 0: none
  std::chrono::nanoseconds message_timeout = std::chrono::seconds(60);
  bool compression = false;
  std::vector<std::string> origins{};  ///< "https://a.example", "https://*.a.example", "same"; empty: all
  std::vector<std::string> subprotocols{};
  Place at{};
  bool operator==(const WebSocketAction&) const = default;
};
/// A handler of the program's own, by its name: whether the program has it is known to check_handlers() (handlers.hpp)
/// only.
struct HandlerAction {
  std::string name;
  Place name_at{};
  bool operator==(const HandlerAction&) const = default;
};
using RouteAction =
    std::variant<RespondAction, EchoAction, RedirectAction, FilesAction, WebSocketAction, HandlerAction>;

enum class LimitKey : std::uint8_t { none, address, header };

/// Who is turned away first when memory runs short; the values of flow::Priority.
enum class Priority : std::uint8_t { low, normal, high };

/// So many requests, or connections, in a time.
struct RateLimitConfig {
  std::uint64_t per_hour = 0;
  std::uint64_t burst = 0;  ///< 0: a second's worth
  LimitKey key = LimitKey::none;
  std::string header;  ///< of LimitKey::header
  std::uint64_t keys = 10'000;
  unsigned status = 429;
  bool dry_run = false;
  bool operator==(const RateLimitConfig&) const = default;
};

/// So many at once.
struct ConcurrencyConfig {
  std::uint32_t limit = 0;
  std::uint32_t queue = 0;
  std::chrono::nanoseconds max_wait = std::chrono::seconds(1);
  std::chrono::nanoseconds target = std::chrono::milliseconds(5);  ///< 0: no CoDel
  std::chrono::nanoseconds interval = std::chrono::milliseconds(100);
  std::optional<std::pair<std::uint32_t, std::uint32_t>> adaptive;  ///< least and most
  std::string priority_header;                                      ///< empty: all are equal
  bool dry_run = false;
  bool operator==(const ConcurrencyConfig&) const = default;
};

struct WorkerPoolConfig {
  std::uint32_t workers = 0;
  std::uint32_t least = 0;                                   ///< of them that stay when idle
  std::chrono::nanoseconds idle = std::chrono::seconds(10);  ///< then those beyond least end
  std::uint32_t queue = 100;
  std::chrono::nanoseconds max_wait = std::chrono::seconds(1);
  bool dry_run = false;
  bool operator==(const WorkerPoolConfig&) const = default;
};

/// What stands between a client and who serves it, in this order.
struct FlowConfig {
  std::optional<RateLimitConfig> rate_limit;
  std::optional<ConcurrencyConfig> concurrency;
  std::optional<WorkerPoolConfig> worker_pool;
  [[nodiscard]] bool any() const noexcept { return rate_limit || concurrency || worker_pool; }
  bool operator==(const FlowConfig&) const = default;
};

/// Which answers get a line, and of what it is made.
struct AccessLogConfig {
  AccessLogFormat format = AccessLogFormat::off;
  std::string line{};  ///< of AccessLogFormat::written: a template of kLogFields (log_fields.hpp)
  std::string output = "stdout";
  double sample = 1;  ///< the share of lines that are written, above 0
  /// Statuses of which lines are written, first and last; empty: all.
  std::vector<std::pair<unsigned, unsigned>> only{};
  std::vector<std::string> not_paths{};  ///< as routes' paths: "/exact", "/prefix/*"
  Place output_at{};
  Place line_at{};
  bool operator==(const AccessLogConfig&) const = default;
};

/// The body of answers with an error's status.
struct ErrorPageConfig {
  unsigned status = 0;
  std::string file;
  Place file_at{};
  bool operator==(const ErrorPageConfig&) const = default;
};

struct RouteConfig {
  std::string path;
  std::vector<std::string> methods;  ///< empty: all
  std::string host;                  ///< lower case, "*.example.org"; empty: any
  std::optional<std::chrono::nanoseconds> timeout;
  std::optional<std::uint64_t> body_size;
  bool require_length = false;
  Priority priority = Priority::normal;
  FlowConfig flow;
  RouteAction action;
  std::vector<FilterConfig> filters{};          ///< in the order written; inside of the listener's
  std::vector<ErrorPageConfig> error_pages{};   ///< before the listener's
  std::optional<AccessLogConfig> access_log{};  ///< instead of the listener's
  Place path_at{};
  bool operator==(const RouteConfig&) const = default;
};

struct HttpTimeouts {
  std::chrono::nanoseconds header = std::chrono::seconds(10);
  std::chrono::nanoseconds body = std::chrono::seconds(30);
  std::chrono::nanoseconds request = std::chrono::seconds(60);
  std::chrono::nanoseconds write = std::chrono::seconds(30);
  std::chrono::nanoseconds idle = std::chrono::seconds(60);
  std::chrono::nanoseconds grace = std::chrono::seconds(5);
  std::chrono::nanoseconds age{0};  ///< 0: no bound
  std::chrono::nanoseconds handshake = std::chrono::seconds(10);
  bool operator==(const HttpTimeouts&) const = default;
};

struct HttpLimits {
  std::uint64_t connections = 10'000;
  std::uint64_t header_size = 16 * 1024;
  unsigned header_fields = 100;  ///< 1 … 256
  std::uint64_t body_size = 1024 * 1024;
  std::uint64_t body_rate = 240;              ///< bytes per second; 0: no bound
  std::uint64_t write_rate = 240;             ///< bytes per second; 0: no bound
  unsigned requests = 0;                      ///< of one connection; 0: no bound
  std::uint64_t connections_per_address = 0;  ///< 0: no bound
  std::uint64_t target_size = 8 * 1024;       ///< at most header_size
  std::uint64_t handshakes = 1'000;           ///< of TLS, that are not over
  bool operator==(const HttpLimits&) const = default;
};

/// Which field of a trusted proxy's request names the client.
enum class ForwardedHeader : std::uint8_t { x_forwarded_for, forwarded, off };

struct Http2Config {
  unsigned max_streams = 100;
  std::uint64_t stream_window = 256 * 1024;       ///< bytes
  std::uint64_t connection_window = 1024 * 1024;  ///< bytes
  unsigned glitches = 1000;
  bool upgrade = false;  ///< without TLS, by a request of HTTP/1.1 that asks for it
  bool operator==(const Http2Config&) const = default;
};

struct HttpConfig {
  HttpTimeouts timeouts;
  HttpLimits limits;
  Http2Config http2;
  bool h2c = false;  ///< HTTP/2 without TLS, by prior knowledge
  AccessLogConfig access_log;
  std::string server = "fiberd";   ///< Server field; empty: none
  std::vector<std::string> hosts;  ///< lower case, "*.example.org"; empty: all
  std::vector<ErrorPageConfig> error_pages;
  FlowConfig flow;  ///< of all its requests together
  std::vector<RouteConfig> routes;
  std::vector<FilterConfig> filters{};  ///< in the order written
  /// Of files: ".ext" in lower case and the media type, before those that are known.
  std::vector<std::pair<std::string, std::string>> mime_types{};
  ForwardedHeader forwarded = ForwardedHeader::x_forwarded_for;  ///< what trusted proxies say the client is
  bool operator==(const HttpConfig&) const = default;
};

enum class TcpService : std::uint8_t { echo, discard, handler };

struct TcpConfig {
  TcpService service = TcpService::echo;
  HandlerAction handler;                     ///< for TcpService::handler
  std::chrono::nanoseconds idle_timeout{0};  ///< 0: none
  std::uint64_t connections = 10'000;
  std::uint64_t connections_per_address = 0;  ///< 0: no bound
  FlowConfig flow;                            ///< of its connections
  bool operator==(const TcpConfig&) const = default;
};

enum class AggregateProtocol : std::uint8_t { both, tcp, udp };

/// One place that aggregated metrics are sent to; exactly one of the two is set.
struct AggregateFlush {
  std::string statsd;      ///< "host:port" or "udp://host:port"; "tcp://host:port"
  std::string prometheus;  ///< "http[s]://host[:port]/path"
  ClientTlsConfig tls{};   ///< of an https:// one
  bool operator==(const AggregateFlush&) const = default;
};

struct AggregateConfig {
  AggregateProtocol protocol = AggregateProtocol::both;
  std::uint64_t series = 10'000;
  std::uint64_t set_members = 100'000;  ///< of all sets in one interval
  std::chrono::nanoseconds flush_interval = std::chrono::seconds(10);
  std::chrono::nanoseconds expire = std::chrono::minutes(5);
  std::vector<std::pair<std::string, double>> percentiles{{"0.5", 0.5}, {"0.9", 0.9}, {"0.99", 0.99}};  ///< ascending
  std::uint64_t line_size = 8 * 1024;
  std::uint64_t receive_buffer = 0;  ///< of the UDP socket, bytes; 0: the system's default
  std::vector<AggregateFlush> flush;
  std::chrono::nanoseconds idle_timeout{0};  ///< 0: none
  std::uint64_t connections = 10'000;
  std::uint64_t connections_per_address = 0;  ///< 0: no bound
  bool operator==(const AggregateConfig&) const = default;
};

/// TCP's; the fields of net::KeepAlive.
struct KeepAliveConfig {
  std::chrono::seconds idle{60};  ///< 0: off
  std::chrono::seconds interval{15};
  int count = 4;
  bool operator==(const KeepAliveConfig&) const = default;
};

/// What connections from trusted proxies begin with.
enum class ProxyProtocol : std::uint8_t {
  off,      ///< nothing: no header is read
  any,      ///< a header of version 1 or 2
  v1,       ///< a header of version 1
  v2,       ///< a header of version 2
  optional  ///< a header of either version, or none
};

struct ListenerConfig {
  std::string name;
  std::vector<ListenAddress> addresses{};
  std::string address;        ///< the first of addresses, as address_at and ipv6_only
  std::uint32_t mode = 0660;  ///< of a Unix socket's file
  std::string owner;          ///< "user" or "user:group"; empty: unchanged
  bool reuseport = false;
  std::optional<bool> defer_accept;  ///< default: true for HTTP, false for TCP
  unsigned backlog = 4096;
  KeepAliveConfig keep_alive;
  ProxyProtocol proxy_protocol = ProxyProtocol::off;
  /// Of "[::]:PORT" whose IPv4 half is another's: 0.0.0.0:PORT stands beside it (addresses.hpp).
  bool ipv6_only = false;
  Place address_at{};
  Place owner_at{};
  std::optional<TlsConfig> tls{};
  std::variant<HttpConfig, TcpConfig, AggregateConfig> service;
  bool operator==(const ListenerConfig&) const = default;
};

/// What all routes that serve files keep of them together.
struct FileCacheConfig {
  std::uint64_t files = 1024;
  std::uint64_t memory = std::uint64_t{32} << 20U;  ///< bytes
  std::chrono::nanoseconds age = std::chrono::seconds(10);
  bool operator==(const FileCacheConfig&) const = default;
};

inline constexpr const char* kBuiltIn = "built-in";

struct Config {
  std::string source;  ///< the file's name, or kBuiltIn
  FilesConfig config;
  RuntimeConfig runtime;
  MemoryConfig memory;
  ProfilesConfig profiles;
  TraceConfig trace;
  TracingConfig tracing;
  FileCacheConfig file_cache;
  LogConfig log;
  ShutdownConfig shutdown;
  UpgradeConfig upgrade;
  LeaksConfig leaks;
  AdminConfig admin;
  MetricsConfig metrics;
  /// Ranges of addresses of proxies that are believed who the client is.
  PlacedTexts trusted_proxies{};
  std::vector<ListenerConfig> listeners;
  std::vector<Place> fixed_at{};     ///< of the keys that cannot change while the daemon runs, as far as written
  std::vector<std::string> files{};  ///< that were read: `source`, and what it includes
  /// What `include` names, each below the directory of its file ("" or "…/").
  std::vector<std::pair<std::string, std::string>> patterns{};
  std::uint64_t digest = 0;  ///< of all that was read, also where it is wrong; the same within this process
};

/// One thing that is wrong, with its place and its remedy.
struct Diagnostic {
  std::string source;  ///< file name, "--set", or "built-in"
  unsigned line = 0;   ///< from 1; 0: no place
  unsigned column = 0;
  std::string key;      ///< listeners[0].http.timeouts.header
  std::string message;  ///< what is wrong, what is allowed, the nearest valid name
  /// What else is found wrong with the key follows from this.
  bool decides = false;

  /// "file:line:column: key: message"
  [[nodiscard]] std::string to_string() const;
};
[[nodiscard]] Diagnostic diagnostic_at(const Place& place, std::string message);
/// In the order in which they stand in the file.
void sort_by_place(std::vector<Diagnostic>& diagnostics);

struct Outcome {
  Config config;  ///< meaningful when ok()
  std::vector<Diagnostic> diagnostics;
  bool readable = true;  ///< false: no file, or no YAML of keys: all of `config` is by default
  [[nodiscard]] bool ok() const noexcept { return diagnostics.empty(); }
};

/// `overrides`: "key=value" as --set takes them. Everything wrong is found in one run. Never throws but std::bad_alloc.
/// `others`: whether `path` may be a pipe, which is waited for; included files may not.
[[nodiscard]] Outcome load_file(const std::string& path, const std::vector<std::string>& overrides = {},
                                NotRegular others = NotRegular::read);
[[nodiscard]] Outcome load_text(const std::string& text, const std::string& source_name,
                                const std::vector<std::string>& overrides = {});

/// What load_text() of the same would take, as YAML: with the included listeners, --set, variables of the environment
/// and the defaults (show.hpp). For one that is right; empty when it is not.
[[nodiscard]] std::string show_text(const std::string& text, const std::string& source_name,
                                    const std::vector<std::string>& overrides = {});

/// The configuration that runs without -c, as YAML: what `fiberd config default` prints.
[[nodiscard]] const std::string& default_config();

}  // namespace fiberd::config

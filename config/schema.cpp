#include "config/schema.hpp"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "core/base/units.hpp"

namespace fiberd::config {

static constexpr std::uint64_t kSecond = 1'000'000'000;
static constexpr std::uint64_t kHour = 3600 * kSecond;
static constexpr std::uint64_t kDay = 24 * kHour;
static constexpr std::uint64_t kKiB = 1024;
static constexpr std::uint64_t kMiB = 1024 * kKiB;
static constexpr std::uint64_t kTiB = kMiB * kMiB;

// Limits that stand in several places.
// clang-format off
#define FIBERD_RATE_LIMIT_ROWS(at, what) \
  {.path = at ".rate_limit", .type = Type::section, .fallback = "", .help = "How often: a token bucket. " what " beyond it are refused at once."}, \
  {.path = at ".rate_limit.rate", .type = Type::rate, .fallback = "", .least = 1, .most = 3600 * kSecond, .help = "Tokens that come back: 100/s, 30/m, 5/h. Required."}, \
  {.path = at ".rate_limit.burst", .type = Type::integer, .fallback = "0", .least = 0, .most = 1'000'000'000, .help = "Tokens the bucket holds: so many at once. 0: as many as come back in a second, at least 1."}, \
  {.path = at ".rate_limit.keys", .type = Type::integer, .fallback = "10000", .least = 1, .most = 1'000'000, .help = "Buckets that are kept when there is a key, 40 bytes each. When there are more clients the one that is used least recently and owes nothing is forgotten; if all owe, a new client takes over the debt of one."}, \
  {.path = at ".rate_limit.dry_run", .type = Type::boolean, .fallback = "false", .help = "Refuses nobody, but counts who would have been."}
#define FIBERD_CONCURRENCY_ROWS(at, what) \
  {.path = at ".concurrency", .type = Type::section, .fallback = "", .help = "How many at once."}, \
  {.path = at ".concurrency.limit", .type = Type::integer, .fallback = "", .least = 1, .most = 1'000'000, .help = what " at once; with adaptive: to begin with, within its bounds. Required."}, \
  {.path = at ".concurrency.queue", .type = Type::integer, .fallback = "0", .least = 0, .most = 1'000'000, .help = "Further ones that may wait for a place; more are refused."}, \
  {.path = at ".concurrency.max_wait", .type = Type::duration, .fallback = "1s", .least = kSecond / 1000, .most = kHour, .help = "In the queue; then refused."}, \
  {.path = at ".concurrency.dry_run", .type = Type::boolean, .fallback = "false", .help = "Refuses nobody and lets nobody wait, but counts who would have been refused."}
#define FIBERD_CODEL_ROWS(at) \
  {.path = at ".concurrency.codel", .type = Type::section, .fallback = "", .help = "A queue that stands is thinned out (CoDel, RFC 8289)."}, \
  {.path = at ".concurrency.codel.target", .type = Type::duration, .fallback = "5ms", .least = 0, .most = kHour, .help = "A wait that is fine. 0s: off."}, \
  {.path = at ".concurrency.codel.interval", .type = Type::duration, .fallback = "100ms", .least = kSecond / 1000, .most = kHour, .help = "When everybody has waited longer than target for this long, some are refused."}
#define FIBERD_WORKER_POOL_ROWS(at, what) \
  {.path = at ".worker_pool", .type = Type::section, .fallback = "", .help = what " run on fibers of a pool of their own."}, \
  {.path = at ".worker_pool.workers", .type = Type::integer, .fallback = "", .least = 1, .most = 1'000'000, .help = "So many at once. Required."}, \
  {.path = at ".worker_pool.least", .type = Type::integer, .fallback = "0", .least = 0, .most = 1'000'000, .help = "Workers that stay when there is nothing to do; as many as workers: none ever ends. All begin when they are needed."}, \
  {.path = at ".worker_pool.idle", .type = Type::duration, .fallback = "10s", .least = kSecond / 1000, .most = kHour, .help = "A worker beyond least that has had nothing to do for this long ends."}, \
  {.path = at ".worker_pool.queue", .type = Type::integer, .fallback = "100", .least = 0, .most = 1'000'000, .help = "Further ones that may wait for a worker; more are refused."}, \
  {.path = at ".worker_pool.max_wait", .type = Type::duration, .fallback = "1s", .least = kSecond / 1000, .most = kHour, .help = "In the queue; then refused."}, \
  {.path = at ".worker_pool.dry_run", .type = Type::boolean, .fallback = "false", .help = "No pool: runs as without one, but counts who would have been refused."}
#define FIBERD_REQUEST_LIMIT_ROWS(at) \
  FIBERD_RATE_LIMIT_ROWS(at, "Requests"), \
  {.path = at ".rate_limit.key", .type = Type::string, .fallback = "none", .help = "Whose bucket: none (one for all), address (the client's IPv4 address or IPv6 /64), or header:NAME (the field's value; who does not send it has one by address)."}, \
  {.path = at ".rate_limit.status", .type = Type::integer, .fallback = "429", .least = 400, .most = 599, .help = "What answers who is refused, with Retry-After."}, \
  FIBERD_CONCURRENCY_ROWS(at, "Requests"), \
  FIBERD_CODEL_ROWS(at), \
  {.path = at ".concurrency.adaptive", .type = Type::section, .fallback = "", .help = "The limit follows the latency: it shrinks when requests take longer than they used to, and grows when it is used and they do not."}, \
  {.path = at ".concurrency.adaptive.min", .type = Type::integer, .fallback = "", .least = 1, .most = 1'000'000, .help = "Least. Required."}, \
  {.path = at ".concurrency.adaptive.max", .type = Type::integer, .fallback = "", .least = 1, .most = 1'000'000, .help = "Most. Required."}, \
  {.path = at ".concurrency.priority", .type = Type::string, .fallback = "", .help = "header:NAME: who waits is served by that field's value, high before normal (also: none, anything else) before low. Let nobody send it whom you do not trust."}, \
  FIBERD_WORKER_POOL_ROWS(at, "Handlers")

// What a listener and a route both have; a route's is inside of the listener's.
#define FIBERD_FILTER_ROWS(at) \
  {.path = at ".headers", .type = Type::section, .fallback = "", .help = "Fields of answers, errors included."}, \
  {.path = at ".headers.set", .type = Type::pairs, .fallback = "", .help = "Name: value, instead of what the answer has. Values may hold request variables.", .variables = true}, \
  {.path = at ".headers.add", .type = Type::pairs, .fallback = "", .help = "Name: value, beside what the answer has. Values may hold request variables.", .variables = true}, \
  {.path = at ".headers.remove", .type = Type::strings, .fallback = "", .help = "Names."}, \
  {.path = at ".allow", .type = Type::texts, .fallback = "", .help = "Only clients with an address in these ranges: 192.0.2.0/24, 2001:db8::/32, 192.0.2.1, or unix: for all who come over a Unix socket. Others get 403."}, \
  {.path = at ".deny", .type = Type::texts, .fallback = "", .help = "No clients with an address in these ranges: they get 403."}, \
  {.path = at ".basic_auth", .type = Type::section, .fallback = "", .help = "Only who has a name and password (RFC 7617). In the clear without TLS."}, \
  {.path = at ".basic_auth.file", .type = Type::string, .fallback = "", .help = "Names and hashes as htpasswd writes them, by bcrypt, yescrypt or SHA-512. Required."}, \
  {.path = at ".basic_auth.realm", .type = Type::string, .fallback = "restricted", .help = "What the browser shows."}, \
  {.path = at ".cors", .type = Type::section, .fallback = "", .help = "Which pages of other sites may read the answers (Fetch standard)."}, \
  {.path = at ".cors.origins", .type = Type::strings, .fallback = "", .help = "\"https://a.example\", \"https://*.a.example\" for all below it, or \"*\" alone. Required."}, \
  {.path = at ".cors.methods", .type = Type::strings, .fallback = "", .help = "Beyond GET, HEAD and POST; \"*\": all, without credentials only."}, \
  {.path = at ".cors.headers", .type = Type::strings, .fallback = "", .help = "Request fields that pages may send; \"*\": all."}, \
  {.path = at ".cors.expose", .type = Type::strings, .fallback = "", .help = "Answer fields that pages may read; \"*\": all, without credentials only."}, \
  {.path = at ".cors.credentials", .type = Type::boolean, .fallback = "false", .help = "Pages may send cookies and passwords. Not with origins [\"*\"]."}, \
  {.path = at ".cors.max_age", .type = Type::duration, .fallback = "10m", .least = 0, .most = kDay, .help = "How long a browser may keep what it was told, in whole seconds."}, \
  {.path = at ".compress", .type = Type::section, .fallback = "", .help = "Compresses answers for clients that accept it; never twice. Not for pages that show a secret beside text that a client chose."}, \
  {.path = at ".compress.codings", .type = Type::strings, .fallback = "[zstd, br, gzip]", .help = "The best first."}, \
  {.path = at ".compress.types", .type = Type::strings, .fallback = "", .help = "Media types: text/html, text/*. Default: text, JSON, XML, JavaScript and others that shrink."}, \
  {.path = at ".compress.min_size", .type = Type::bytes, .fallback = "1KiB", .least = 0, .most = 1024 * kMiB, .help = "Shorter answers stay as they are."}, \
  {.path = at ".compress.level", .type = Type::pairs, .fallback = "", .help = "Of a coding: {gzip: 6, br: 4, zstd: 3}; gzip 1 … 9, br 0 … 11, zstd 1 … 19. Default: what is worth its CPU."}, \
  {.path = at ".request_id", .type = Type::section, .fallback = "", .help = "Gives each request an id, for logs, ${request_id} and the answer."}, \
  {.path = at ".request_id.header", .type = Type::string, .fallback = "X-Request-Id", .help = "The field it is told in."}, \
  {.path = at ".request_id.accept", .type = Type::boolean, .fallback = "false", .help = "Takes over the id that a proxy of trusted_proxies sends in that field, if it has 8 to 128 letters, digits and -_.:/+=@; others are replaced."}, \
  {.path = at ".cache_control", .type = Type::pairs, .fallback = "", .help = "The Cache-Control field by what is answered: {\".css\": \"max-age=86400\", \"image/*\": \"max-age=3600\", \"*\": no-cache}; the first that fits. For 200, 203, 206 and 304."}, \
  {.path = at ".filters", .type = Type::strings, .fallback = "", .help = "Filters of the program's own, by the names they were registered with in C++ (docs/handlers.md)."}
#define FIBERD_ACCESS_LOG_ROWS(at) \
  {.path = at ".format", .type = Type::choice, .fallback = "off", .choices = "off|common|json|combined|template", .help = "off, the common or the combined log format, one JSON object a line, or a template of your own."}, \
  {.path = at ".template", .type = Type::string, .fallback = "", .help = "A line of format: template, of named fields: ${time} ${listener} ${client} ${host} ${method} ${target} ${path} ${query} ${protocol} ${route} ${status} ${bytes_in} ${bytes_out} ${duration} ${time_to_head} (seconds) ${request_id} ${reason} ${referer} ${user_agent} ${user} ${trace_id} ${span_id}, and of TLS ${tls_version} ${tls_cipher} ${tls_server_name} ${client_cert_verified} ${client_cert_subject} ${client_cert_names} ${client_cert_fingerprint}. Empty ones are -.", .variables = true}, \
  {.path = at ".output", .type = Type::string, .fallback = "stdout", .help = "stdout, stderr, or a path, as log.output. Lines that do not fit are dropped and counted."}, \
  {.path = at ".sample", .type = Type::string, .fallback = "1", .help = "The share of answers that get a line: 0.1, or 1/10."}, \
  {.path = at ".only", .type = Type::texts, .fallback = "", .help = "Statuses that get a line: errors (4xx and 5xx), 5xx, 404. Default all."}, \
  {.path = at ".not_paths", .type = Type::texts, .fallback = "", .help = "Paths that get no line, written as those of routes: /healthz, /static/*."}
static constexpr auto kRows = std::to_array<Row>({
  {.path = "include", .type = Type::texts, .fallback = "", .help = "Files whose listeners are added to those of this one: [conf.d/*.yaml], from this file's directory. They may include others, and have no other keys."},
  {.path = "config", .type = Type::section, .fallback = "", .help = "The configuration's files themselves."},
  {.path = "config.watch", .type = Type::boolean, .fallback = "false", .help = "true: a change of the file, or of one that it includes, is a reload, as SIGHUP is one; a burst of changes is one. What is wrong leaves the configuration before. Made for ConfigMaps of Kubernetes, which swap a symbolic link (docs/operations.md)."},
  {.path = "runtime", .type = Type::section, .fallback = "", .help = "The scheduler."},
  {.path = "runtime.gomaxprocs", .type = Type::auto_integer, .fallback = "auto", .least = 1, .most = 1024, .help = "Processors: how many fibers run at the same time. auto: the cgroup's CPU quota, else the CPUs of the affinity mask; of these at most 1024, and a quarter of the limit of open files. The environment variable GOMAXPROCS wins."},
  {.path = "runtime.stack_size", .type = Type::bytes, .fallback = "256KiB", .least = 16 * kKiB, .most = 64 * kMiB, .help = "Address space per fiber stack, a multiple of 4KiB; memory is used page by page.", .reloadable = false},
  {.path = "runtime.small_stack_size", .type = Type::bytes, .fallback = "64KiB", .least = 16 * kKiB, .most = 64 * kMiB, .help = "The same for fibers that handlers of your own spawn with StackClass::small.", .reloadable = false},
  {.path = "runtime.large_stack_size", .type = Type::bytes, .fallback = "8MiB", .least = 16 * kKiB, .most = 64 * kMiB, .help = "The same for StackClass::large; at most 65,536 of them.", .reloadable = false},
  {.path = "runtime.stack_guards", .type = Type::choice, .fallback = "auto", .choices = "auto|require|canary", .help = "Guard pages under stacks. auto: MADV_GUARD_INSTALL, else mprotect for as many as vm.max_map_count allows (two maps a stack, 32,253 stacks by the kernel's default), then no more fibers. require: refuse to start without guards. canary: beyond the limit go on without guards, checked when a fiber ends.", .reloadable = false},
  {.path = "runtime.stack_learning", .type = Type::choice, .fallback = "off", .choices = "off|on", .help = "on: fibers of a place in the source get the smallest of 16, 32 and 64KiB and stack_size of which none measured there used more than half; each has an emergency page, which is reported when it is needed. Needs guards: not with stack_guards: canary. off: measured and shown, not given out.", .reloadable = false},
  {.path = "runtime.stack_trim_after", .type = Type::duration, .fallback = "2m", .least = 0, .most = kDay, .help = "Of a fiber that has waited for so long, the stack memory below what it uses is given back. 0s: never.", .reloadable = false},
  {.path = "runtime.blocking_threads", .type = Type::integer, .fallback = "64", .least = 1, .most = 4096, .help = "Most threads for calls that block (opening files, cold reads).", .reloadable = false},
  {.path = "runtime.handoff_max", .type = Type::integer, .fallback = "4", .least = 0, .most = 64, .help = "Most Processors that may be held by long-running fibers and replaced.", .reloadable = false},
  {.path = "runtime.machines_max", .type = Type::integer, .fallback = "10000", .least = 1, .most = 100'000, .help = "Most scheduler threads: one for each Processor, and those in blocking sections of handlers. Beyond it a section waits until another is over. Never less than twice the Processors and handoff_max.", .reloadable = false},
  {.path = "memory", .type = Type::section, .fallback = "", .help = "Memory."},
  {.path = "memory.limit", .type = Type::auto_bytes, .fallback = "auto", .least = 16 * kMiB, .most = kTiB, .help = "Of the process's resident memory, beside the limits of its cgroup, which count in any case: whichever is nearer to being reached rules (docs/memory.md). auto: the cgroup's alone. The environment variable GOMEMLIMIT (a size, or off) wins."},
  {.path = "memory.governor", .type = Type::choice, .fallback = "on", .choices = "on|off", .help = "on: before a limit is reached memory is given back and new work is turned away. off: nobody looks, and beyond the cgroup's limit the kernel kills."},
  {.path = "memory.trim_at", .type = Type::integer, .fallback = "80", .least = 10, .most = 98, .help = "Percent of a limit at which caches are emptied and the allocator gives back what it holds."},
  {.path = "memory.shed_at", .type = Type::integer, .fallback = "95", .least = 11, .most = 99, .help = "Percent of a limit at which new TCP connections are closed and requests for routes of normal priority are answered 503 with Retry-After; low priority a third of the way to trim_at earlier, high three fifths of the way to the limit later. More than trim_at."},
  {.path = "leaks", .type = Type::section, .fallback = "", .help = "Fibers that wait for ever: /debug/leaks."},
  {.path = "leaks.threshold", .type = Type::duration, .fallback = "10m", .least = 0, .most = kDay, .help = "How long a fiber waits, for what only other fibers do and no time ends, before it is told as a leak: by then at most a quarter later, or a minute. Every quarter of it (10ms … 1m) all fibers are looked at, beside requests; only while one has waited so long is memory searched for who refers to what it waits at. 0s: nobody looks."},
  {.path = "leaks.ignore", .type = Type::strings, .fallback = "", .help = "Names of fibers that may wait for ever: workers of your own that wait for work."},
  {.path = "profiles", .type = Type::section, .fallback = "", .help = "What the sampled profiles of /debug/pprof/ look at. POST /debug/pprof/rates changes it until the next reload or restart."},
  {.path = "profiles.heap_rate", .type = Type::bytes, .fallback = "512KiB", .least = 0, .most = kTiB, .help = "heap, allocs: bytes that are allocated between two samples, on average. 1: every allocation, which costs memory and time; 0: off."},
  {.path = "profiles.block_rate", .type = Type::duration, .fallback = "0s", .least = 0, .most = kHour, .help = "block: time that fibers wait for each other between two samples, on average; longer waits are all sampled. 100us costs little; 0s: off."},
  {.path = "profiles.mutex_fraction", .type = Type::integer, .fallback = "0", .least = 0, .most = 1'000'000'000, .help = "mutex: one in so many unlocks of a lock that another fiber had to wait for is sampled. 1: each; 0: off."},
  {.path = "trace", .type = Type::section, .fallback = "", .help = "The flight recorder: what each Processor did last, for /debug/trace and, when something was slow, for a file (docs/tracing.md)."},
  {.path = "trace.buffer", .type = Type::bytes, .fallback = "1MiB", .least = 0, .most = 1024 * kMiB, .help = "Most memory for the events of one Processor, 16 bytes each; it is taken as it is needed. 0: nothing is recorded.", .reloadable = false},
  {.path = "trace.min_age", .type = Type::duration, .fallback = "10s", .least = 0, .most = kDay, .help = "How far back events should reach. A Processor's memory grows while they reach less far, up to trace.buffer; what is overwritten younger is counted in fiberd_trace_lost_total.", .reloadable = false},
  {.path = "trace.on_latency", .type = Type::duration, .fallback = "0s", .least = 0, .most = kDay, .help = "A request that took this long has the trace written to a file. 0s: none does."},
  {.path = "trace.on_stall", .type = Type::boolean, .fallback = "false", .help = "So has a fiber that held its Processor for 10 ms."},
  {.path = "trace.directory", .type = Type::string, .fallback = "", .help = "Where these files go; it must exist. Required for trace.on_latency and trace.on_stall."},
  {.path = "trace.max_files", .type = Type::integer, .fallback = "8", .least = 1, .most = 10'000, .help = "Most such files: the oldest goes for a new one."},
  {.path = "trace.max_bytes", .type = Type::bytes, .fallback = "256MiB", .least = kMiB, .most = kTiB, .help = "Most bytes of them together: the oldest go, and a file that is larger by itself is not kept."},
  {.path = "trace.interval", .type = Type::duration, .fallback = "1m", .least = 0, .most = kDay, .help = "Least time between two such files; what comes within it is counted in fiberd_trace_files_refused_total."},
  {.path = "tracing", .type = Type::section, .fallback = "", .help = "Spans of requests, of their handlers and of what they ask of others, for a collector that takes OTLP (docs/spans.md). Not trace, which is the flight recorder."},
  {.path = "tracing.endpoint", .type = Type::string, .fallback = "", .help = "Where spans are sent by POST, as OTLP/HTTP in JSON: \"http://127.0.0.1:4318/v1/traces\", or https://. Without it nothing is traced."},
  {.path = "tracing.tls", .type = Type::section, .fallback = "", .help = "Of an https:// endpoint: its certificate must lead to an authority that is believed, and have the endpoint's host. The files are read when the configuration is."},
  {.path = "tracing.tls.ca", .type = Type::string, .fallback = "", .help = "A PEM file with the certificates of the authorities that are believed, instead of the system's (package ca-certificates)."},
  {.path = "tracing.tls.certificate", .type = Type::string, .fallback = "", .help = "A PEM file: a certificate, behind it its chain, that the collector is shown if it asks."},
  {.path = "tracing.tls.key", .type = Type::string, .fallback = "", .help = "A PEM file with its private key, not encrypted."},
  {.path = "tracing.sample", .type = Type::section, .fallback = "", .help = "Which requests' spans are kept."},
  {.path = "tracing.sample.ratio", .type = Type::string, .fallback = "0.01", .help = "Share of the traces that begin here, 0 … 1."},
  {.path = "tracing.sample.parent", .type = Type::boolean, .fallback = "true", .help = "true: of a request whose caller says by traceparent whether he samples, he decides. false: the ratio does, by the trace's id. Within sample.per_second either way."},
  {.path = "tracing.sample.errors", .type = Type::choice, .fallback = "always", .choices = "always|never", .help = "always: requests answered 5xx are kept at their end, too: their spans of this process, which are held until then."},
  {.path = "tracing.sample.slow", .type = Type::duration, .fallback = "0s", .least = 0, .most = kDay, .help = "So are requests that took this long. 0s: none is slow."},
  {.path = "tracing.sample.per_second", .type = Type::integer, .fallback = "1000", .least = 0, .most = 1'000'000, .help = "Most traces that are kept in a second, whoever asks for it: what clients can make us send. 0: no bound."},
  {.path = "tracing.sample.spans", .type = Type::integer, .fallback = "128", .least = 0, .most = 100'000, .help = "Most spans of one request that are held until its end, to be kept if it fails or is slow; more are dropped and counted."},
  {.path = "tracing.service_name", .type = Type::string, .fallback = "fiberd", .help = "The attribute service.name of the resource."},
  {.path = "tracing.resource", .type = Type::pairs, .fallback = "", .help = "More attributes of it: {deployment.environment: production}. host.name, process.pid and service.version are there by themselves."},
  {.path = "tracing.headers_file", .type = Type::string, .fallback = "", .help = "A file with fields that the collector wants, a line each, \"Authorization: Bearer …\": secrets do not stand in the configuration. It is read when the configuration is."},
  {.path = "tracing.batch", .type = Type::section, .fallback = "", .help = "What is sent at once."},
  {.path = "tracing.batch.spans", .type = Type::integer, .fallback = "512", .least = 1, .most = 10'000, .help = "Most spans in one POST, which has 4 MiB at most; a request's own two go together."},
  {.path = "tracing.batch.delay", .type = Type::duration, .fallback = "1s", .least = kSecond / 100, .most = kHour, .help = "How long spans wait for a batch to be full."},
  {.path = "tracing.queue", .type = Type::bytes, .fallback = "8MiB", .least = 64 * kKiB, .most = 1024 * kMiB, .help = "Most memory for spans that wait to be sent, or for their request's end. What comes beyond is dropped and counted; no request waits."},
  {.path = "tracing.timeout", .type = Type::duration, .fallback = "10s", .least = kSecond / 10, .most = kHour, .help = "Of one POST. Also how long a stop, within shutdown.timeout, waits for spans to be sent."},
  {.path = "log", .type = Type::section, .fallback = "", .help = "The daemon's own log."},
  {.path = "log.level", .type = Type::choice, .fallback = "info", .choices = "debug|info|warning|error", .help = "Least severity that is written."},
  {.path = "log.modules", .type = Type::pairs, .fallback = "", .help = "Levels of modules of their own: {http: debug, net: warning}. Modules are base, metric, fiber, runtime, context, sync, flow, net, tls, http, observe, daemon, and program for handlers of your own. POST /debug/log on the admin listener changes them for a while."},
  {.path = "log.format", .type = Type::choice, .fallback = "text", .choices = "text|json", .help = "Lines of text, or one JSON object a line."},
  {.path = "log.output", .type = Type::string, .fallback = "auto", .help = "auto, stderr, stdout, journal, or a path. auto: the journal, with its own fields, where systemd has connected standard output or standard error to it, else stderr. journal: also elsewhere; where its socket is missing, stderr with priorities. A path is that of a file, which SIGUSR1 opens anew, or of a FIFO, which needs no reader. The daemon waits for nobody to read it: what does not fit is dropped and counted."},
  {.path = "shutdown", .type = Type::section, .fallback = "", .help = "What SIGTERM and SIGINT do."},
  {.path = "shutdown.delay", .type = Type::duration, .fallback = "0s", .least = 0, .most = kHour, .help = "How long to go on serving, with /readyz at 503, before listeners close."},
  {.path = "shutdown.timeout", .type = Type::duration, .fallback = "30s", .least = 0, .most = kDay, .help = "How long requests may take to finish before they are cut."},
  {.path = "shutdown.idle", .type = Type::duration, .fallback = "1s", .least = 0, .most = kHour, .help = "How long an HTTP connection stays open that was told it goes on, from the signal or from its last answer: a request that is under way is still answered, with Connection: close. Then it is closed, with a second for the client to notice. 0s: closed at once."},
  {.path = "upgrade", .type = Type::section, .fallback = "", .help = "SIGUSR2, POST /upgrade and `fiberd upgrade`: a new process follows this one without losing a connection."},
  {.path = "upgrade.timeout", .type = Type::duration, .fallback = "60s", .least = kSecond, .most = kHour, .help = "How long the new process may take until it is ready; then it is ended, and the old one goes on."},
  {.path = "upgrade.public_key", .type = Type::string, .fallback = "", .help = "A file with an Ed25519 public key (PEM, openssl pkey -pubout): only a program that was signed by its private key is run, whoever asks. Its signature is in FILE.sig, or where --signature says. Default: none is asked for."},
  {.path = "admin", .type = Type::section, .fallback = "", .help = "The admin listener: /metrics, /healthz, /readyz, pages below /debug/, and /aggregate when a listener aggregates, by GET; POST /reload and others change something. / lists them all."},
  {.path = "admin.address", .type = Type::string, .fallback = "127.0.0.1:9090", .help = "Where it listens; off: nowhere. On any address but loopback (127.0.0.0/8, [::1]) or a Unix socket it needs token_file. Where nobody wrote the address and the default's port is taken (Prometheus has the same), the daemon warns and goes on without."},
  {.path = "admin.mode", .type = Type::octal, .fallback = "0600", .least = 0, .most = 0777, .help = "Permissions of a Unix socket's file: who may write to it may ask for everything. One that everybody may write to (0666) needs token_file."},
  {.path = "admin.owner", .type = Type::string, .fallback = "", .help = "Owner of a Unix socket's file: user, user:group, user: (with the user's own group) or :group."},
  {.path = "admin.hosts", .type = Type::strings, .fallback = "", .help = "Names, without port, by which it may be asked beside localhost and any IP address; \"*.example.org\" is all below it. Others get 421, so that no web page reads these pages by a name that its owner turns to this address (DNS rebinding). A scraper or probe that asks by the name of a service needs that name here. A Unix socket answers whatever the Host."},
  {.path = "admin.token_file", .type = Type::string, .fallback = "", .help = "A file with a token of 16 to 4096 bytes (openssl rand -hex 32): only who sends it is answered, as Authorization: Bearer TOKEN, or as the password of Basic with any name (of up to 512 bytes). /healthz and /readyz are answered without. The file is looked at again when a token is wrong, and by a reload. In the clear without TLS."},
  {.path = "metrics", .type = Type::section, .fallback = "", .help = "/metrics, /healthz and /readyz at addresses of their own, without any other page and without a token, for scrapers and probes of other machines. They stay on the admin listener, too."},
  {.path = "metrics.address", .type = Type::texts, .fallback = "", .help = "\"0.0.0.0:9091\", or a list of several. Whatever the Host: who can reach it may read all metrics. Default: none."},
  {.path = "trusted_proxies", .type = Type::texts, .fallback = "", .help = "Ranges of addresses of the proxies that are believed who the client is: by the field that http.forwarded names, and by proxy_protocol. For limits, logs, allow lists and handlers the client's address is then the real one."},
  {.path = "file_cache", .type = Type::section, .fallback = "", .help = "What all routes with files keep of what they opened, together. What has been unused longest goes first: for room, by age, and before anybody is refused when descriptors run short."},
  {.path = "file_cache.files", .type = Type::integer, .fallback = "1024", .least = 0, .most = 1'000'000, .help = "Most that are kept; a compressed sibling is one of its own. Files of up to 128KiB are kept in memory, larger ones by an open descriptor: of descriptors at most a quarter of the limit of open files. 0: each request opens what it sends."},
  {.path = "file_cache.memory", .type = Type::bytes, .fallback = "32MiB", .least = 0, .most = kTiB, .help = "Most memory for small files, of one at most an eighth. 0: all are kept by descriptors."},
  {.path = "file_cache.age", .type = Type::duration, .fallback = "10s", .least = kSecond / 1000, .most = kDay, .help = "What nobody has asked for this long is let go, and with a deleted file its disk space. What is asked for is looked at anew each second whatever this says."},
  {.path = "upstreams", .type = Type::list, .fallback = "", .help = "Upstream services for proxy routes.", .available = false},
  {.path = "listeners", .type = Type::list, .fallback = "", .help = "Where clients connect; at least one."},
  {.path = "listeners[].name", .type = Type::string, .fallback = "", .help = "Unique; the label in logs and metrics. Required."},
  {.path = "listeners[].address", .type = Type::texts, .fallback = "", .help = "\"0.0.0.0:8080\", \":8080\" (the same: all IPv4 addresses), \"[::]:8080\" (IPv6 and IPv4; IPv6 alone when another listener has the port at 0.0.0.0), \"127.0.0.1:0\" (a free port), \"unix:/run/fiberd/web.sock\" (a stale socket is replaced, a live one refused). One, or a list of several: limits hold over all of them together. Required."},
  {.path = "listeners[].mode", .type = Type::octal, .fallback = "0660", .least = 0, .most = 0777, .help = "Permissions of a Unix socket's file."},
  {.path = "listeners[].owner", .type = Type::string, .fallback = "", .help = "Owner of a Unix socket's file: user, user:group, user: (with the user's own group) or :group."},
  {.path = "listeners[].reuseport", .type = Type::boolean, .fallback = "false", .help = "One socket per Processor of start time in an SO_REUSEPORT group.", .reloadable = false},
  {.path = "listeners[].defer_accept", .type = Type::boolean, .fallback = "", .help = "TCP_DEFER_ACCEPT: clients are accepted with their first bytes, silent ones after a second. Default: true for http, false for tcp."},
  {.path = "listeners[].backlog", .type = Type::integer, .fallback = "4096", .least = 1, .most = 65535, .help = "Connections the kernel queues; capped by net.core.somaxconn."},
  {.path = "listeners[].keepalive", .type = Type::section, .fallback = "", .help = "TCP keep-alive: how a peer that has vanished is found out. The kernel sends no probe while something that was sent to the peer is not acknowledged, or waits to be sent: then the time limits of the service end the connection, or the kernel's own (net.ipv4.tcp_retries2, some 15 minutes). Not for unix: addresses."},
  {.path = "listeners[].keepalive.idle", .type = Type::duration, .fallback = "60s", .least = 0, .most = 32767 * kSecond, .help = "Silence before the first probe, in whole seconds. 0s: no probes."},
  {.path = "listeners[].keepalive.interval", .type = Type::duration, .fallback = "15s", .least = kSecond, .most = 32767 * kSecond, .help = "Between probes, in whole seconds."},
  {.path = "listeners[].keepalive.count", .type = Type::integer, .fallback = "4", .least = 1, .most = 127, .help = "Probes without an answer until the peer is taken for gone; with the defaults that is after two minutes."},
  {.path = "listeners[].proxy_protocol", .type = Type::choice, .fallback = "off", .choices = "off|any|v1|v2|optional", .help = "Connections from trusted_proxies begin with a PROXY protocol header, which names the client: of either version (any), of version 1 (v1) or 2 (v2); optional: or there is none, for protocols in which the client speaks first. A header that is wrong, or has not come whole in time (http.timeouts.header, else 10s), closes the connection. Others' connections are closed unread, or served as they are with optional: a header of theirs is never believed. UDP has none."},
  {.path = "listeners[].tls", .type = Type::section, .fallback = "", .help = "Encrypts the listener's connections (docs/tls.md): TLS 1.2 and 1.3. Needs certificate and key, certificates, or acme. Their files are watched: what is put in their place is shown to clients without a reload; a pair that is wrong leaves the one before."},
  {.path = "listeners[].tls.certificate", .type = Type::string, .fallback = "", .help = "A PEM file: the certificate, behind it its chain up to below the root."},
  {.path = "listeners[].tls.key", .type = Type::string, .fallback = "", .help = "A PEM file with its private key (ECDSA, RSA of 2048 bits at least, Ed25519), not encrypted; that others may read it is warned of."},
  {.path = "listeners[].tls.ocsp", .type = Type::string, .fallback = "", .help = "A file with an OCSP response (DER) for the certificate, which clients that ask for it are sent until it is over."},
  {.path = "listeners[].tls.certificates", .type = Type::list, .fallback = "", .help = "Several pairs instead. A client is shown the one whose DNS names have the name that it asks for (SNI), an exact one before a wildcard; of one name with keys of several kinds the one that it can verify, ECDSA first. The first of the list is for who asks for none, or for one that nobody has."},
  {.path = "listeners[].tls.certificates[].certificate", .type = Type::string, .fallback = "", .help = "As tls.certificate. Required."},
  {.path = "listeners[].tls.certificates[].key", .type = Type::string, .fallback = "", .help = "As tls.key. Required."},
  {.path = "listeners[].tls.certificates[].ocsp", .type = Type::string, .fallback = "", .help = "As tls.ocsp."},
  {.path = "listeners[].tls.acme", .type = Type::section, .fallback = "", .help = "A certificate that comes by itself, and is renewed, from an authority that speaks ACME (RFC 8555, docs/tls.md). Until the first one is there a self-signed one is shown. May stand beside certificate or certificates."},
  {.path = "listeners[].tls.acme.domains", .type = Type::strings, .fallback = "", .help = "The names that it is for, at most 100. They must lead to this machine. \"*.example.org\" with challenge: dns-01 alone. Required."},
  {.path = "listeners[].tls.acme.email", .type = Type::string, .fallback = "", .help = "Whom the authority may write to."},
  {.path = "listeners[].tls.acme.directory", .type = Type::string, .fallback = "https://acme-v02.api.letsencrypt.org/directory", .help = "The authority: the URL of its directory. To try things out: https://acme-staging-v02.api.letsencrypt.org/directory."},
  {.path = "listeners[].tls.acme.storage", .type = Type::string, .fallback = "/var/lib/fiberd/acme", .help = "A directory for the account's key, certificates and their keys; made if it is not there, for this user alone (0700). Processes that share it ask the authority once."},
  {.path = "listeners[].tls.acme.profile", .type = Type::string, .fallback = "", .help = "One of those that the authority has, such as shortlived for six days."},
  {.path = "listeners[].tls.acme.challenge", .type = Type::choice, .fallback = "any", .choices = "any|http-01|tls-alpn-01|dns-01", .help = "How the names are proved. http-01: at port 80, by listeners without tls. tls-alpn-01: at port 443, by those with acme. any: tls-alpn-01, and http-01 when that has failed. dns-01: by dns_program."},
  {.path = "listeners[].tls.acme.dns_program", .type = Type::string, .fallback = "", .help = "Of challenge: dns-01: a program that is called with present or cleanup, the record's name (_acme-challenge.example.org) and its value, and returns with 0 when authorities see it. It has two minutes."},
  {.path = "listeners[].tls.acme.eab", .type = Type::section, .fallback = "", .help = "For authorities that bind accounts to others of theirs (external account binding)."},
  {.path = "listeners[].tls.acme.eab.key_id", .type = Type::string, .fallback = "", .help = "The key's id, as the authority says it."},
  {.path = "listeners[].tls.acme.eab.key_file", .type = Type::string, .fallback = "", .help = "A file with the key, base64url in one line, as the authority hands it out."},
  {.path = "listeners[].tls.acme.on_demand", .type = Type::section, .fallback = "", .help = "Certificates for names that stand in no list, when a client first says one (SNI) and ask allows it. The client that comes first is not kept waiting: it is shown what who says no name is shown (docs/tls.md)."},
  {.path = "listeners[].tls.acme.on_demand.ask", .type = Type::string, .fallback = "", .help = "A URL of yours that is asked by GET with ?domain=NAME: 200 … 299 allows a certificate for the name, all else does not. It has ten seconds. Required."},
  {.path = "listeners[].tls.acme.on_demand.orders", .type = Type::rate, .fallback = "10/h", .least = 1, .most = 3600 * kSecond, .help = "How many certificates are ordered in a time, renewals among them, whoever asks for whatever name: 10/h, 2/m."},
  {.path = "listeners[].tls.acme.on_demand.names", .type = Type::integer, .fallback = "1000", .least = 1, .most = 100'000, .help = "Certificates that are kept in memory, 5 KB each; of more the one that was asked for least recently is read again when it is."},
  {.path = "listeners[].tls.acme.authority", .type = Type::section, .fallback = "", .help = "Whom the directory's own certificate is believed by."},
  {.path = "listeners[].tls.acme.authority.ca", .type = Type::string, .fallback = "", .help = "A PEM file with the certificates of authorities that are believed, instead of the system's (package ca-certificates)."},
  {.path = "listeners[].tls.acme.authority.certificate", .type = Type::string, .fallback = "", .help = "A PEM file: a certificate that the directory is shown if it asks."},
  {.path = "listeners[].tls.acme.authority.key", .type = Type::string, .fallback = "", .help = "A PEM file with its private key, not encrypted."},
  {.path = "listeners[].tls.profile", .type = Type::choice, .fallback = "intermediate", .choices = "modern|intermediate", .help = "Versions and ciphers, as Mozilla's Server Side TLS names them. modern: TLS 1.3 alone. intermediate: TLS 1.2, too, with ECDHE and AEAD."},
  {.path = "listeners[].tls.strict_sni", .type = Type::boolean, .fallback = "false", .help = "true: who asks for no name, or for one that no certificate has, is refused (unrecognized_name) instead of shown the first certificate."},
  {.path = "listeners[].tls.client_auth", .type = Type::section, .fallback = "", .help = "Clients show certificates of their own (mTLS)."},
  {.path = "listeners[].tls.client_auth.ca", .type = Type::string, .fallback = "", .help = "A PEM file with the certificates of who has issued those of clients. Required."},
  {.path = "listeners[].tls.client_auth.mode", .type = Type::choice, .fallback = "require", .choices = "request|require", .help = "require: who has none is refused. request: who has none is served; one that is shown must be good either way."},
  {.path = "listeners[].tls.client_auth.crl", .type = Type::string, .fallback = "", .help = "A PEM file with lists of revoked certificates. Then there must be one of each issuer of clients' certificates, and when it is over that issuer's are refused."},
  {.path = "listeners[].tls.tickets", .type = Type::boolean, .fallback = "true", .help = "Sessions are resumed within two hours, by tickets that clients keep: the server keeps nothing."},
  {.path = "listeners[].tls.early_data", .type = Type::boolean, .fallback = "false", .help = "true: who resumes a session may send requests before the handshake is over (0-RTT), at most 16 KiB. They can be replayed, so GET and HEAD without content are served then, with the field Early-Data: 1 for handlers; what else comes on HTTP/1.1 waits for the handshake's end, and on HTTP/2 is answered 425 (RFC 8470). No early data is taken twice by one process; not with ticket_keys, therefore."},
  {.path = "listeners[].tls.ktls", .type = Type::choice, .fallback = "off", .choices = "auto|off", .help = "auto: what is sent is encrypted by the kernel where it has the module tls and knows the cipher, and files go by sendfile; where it has not, as with off. Not with early_data."},
  {.path = "listeners[].tls.ticket_keys", .type = Type::texts, .fallback = "", .help = "Files of 80 random bytes each (openssl rand 80), the newest first, at most three: the first seals tickets, the others still open theirs. For machines that resume each other's sessions; replace them at least once a day. Default: three random keys of the process's own, a new one each hour."},
  {.path = "listeners[].http", .type = Type::section, .fallback = "", .help = "Serves HTTP/1.1, and HTTP/2 where it is asked for. Exactly one of http, tcp and aggregate."},
  {.path = "listeners[].http.timeouts", .type = Type::section, .fallback = "", .help = "How long a client may take."},
  {.path = "listeners[].http.timeouts.header", .type = Type::duration, .fallback = "10s", .least = kSecond / 1000, .most = kHour, .help = "From accept, or the first byte of a later request, to the end of the head; then 408."},
  {.path = "listeners[].http.timeouts.handshake", .type = Type::duration, .fallback = "10s", .least = kSecond / 1000, .most = kHour, .help = "From accept to the end of the TLS handshake; then the connection is closed. The header's time begins behind it. With tls alone."},
  {.path = "listeners[].http.timeouts.body", .type = Type::duration, .fallback = "30s", .least = kSecond / 1000, .most = kHour, .help = "Without progress of the request's body; then 408."},
  {.path = "listeners[].http.timeouts.request", .type = Type::duration, .fallback = "60s", .least = kSecond / 1000, .most = kDay, .help = "From the end of the head to the head of the answer."},
  {.path = "listeners[].http.timeouts.write", .type = Type::duration, .fallback = "30s", .least = kSecond / 1000, .most = kHour, .help = "Without progress of the answer; then the connection is cut."},
  {.path = "listeners[].http.timeouts.idle", .type = Type::duration, .fallback = "60s", .least = kSecond / 1000, .most = kDay, .help = "Between two requests of a connection."},
  {.path = "listeners[].http.timeouts.grace", .type = Type::duration, .fallback = "5s", .least = 0, .most = kHour, .help = "Waiting for a client that is free before limits.body_rate and limits.write_rate are asked for."},
  {.path = "listeners[].http.timeouts.age", .type = Type::duration, .fallback = "0s", .least = 0, .most = kDay, .help = "Of a connection, ± 10 %: then it is closed after an answer. 0s: no bound."},
  {.path = "listeners[].http.limits", .type = Type::section, .fallback = "", .help = "How much a client may take."},
  {.path = "listeners[].http.limits.connections", .type = Type::integer, .fallback = "10000", .least = 1, .most = 10'000'000, .help = "Open at once. For one more the longest-idle is closed; when none is idle the new one is. Both are counted."},
  {.path = "listeners[].http.limits.connections_per_address", .type = Type::integer, .fallback = "0", .least = 0, .most = 10'000'000, .help = "Open at once of one IPv4 address, or one IPv6 /64; more are closed at once and counted. 0: no bound. Leave it 0 behind a load balancer, whose address all clients have, unless trusted_proxies and proxy_protocol tell the client's."},
  {.path = "listeners[].http.limits.handshakes", .type = Type::integer, .fallback = "1000", .least = 1, .most = 1'000'000, .help = "TLS handshakes under way at once, of some 60 KiB each; for one more the one that has waited longest is closed, and counted. With tls alone."},
  {.path = "listeners[].http.limits.header_size", .type = Type::bytes, .fallback = "16KiB", .least = 256, .most = kMiB, .help = "A request's head; more is 431."},
  {.path = "listeners[].http.limits.target_size", .type = Type::bytes, .fallback = "", .least = 64, .most = kMiB, .help = "A request's target (path and query), of header_size at most; more is 414. Default: header_size without 8KiB for the fields, but 8KiB where header_size has room for them."},
  {.path = "listeners[].http.limits.header_fields", .type = Type::integer, .fallback = "100", .least = 1, .most = 256, .help = "Field lines of a head; more is 431."},
  {.path = "listeners[].http.limits.body_size", .type = Type::bytes, .fallback = "1MiB", .least = 0, .most = kTiB, .help = "A request's body; more is 413."},
  {.path = "listeners[].http.limits.body_rate", .type = Type::bytes, .fallback = "240", .least = 0, .most = 1024 * kMiB, .help = "Bytes per second that a request's body must come with, measured over the time we wait for it; slower is 408. 0: no bound."},
  {.path = "listeners[].http.limits.write_rate", .type = Type::bytes, .fallback = "240", .least = 0, .most = 1024 * kMiB, .help = "Bytes per second that a client must read an answer with, measured over the time we wait for it; slower is cut. 0: no bound."},
  {.path = "listeners[].http.limits.requests", .type = Type::integer, .fallback = "0", .least = 0, .most = 1'000'000'000, .help = "Of one connection, ± 10 %: then it is closed after an answer. 0: no bound."},
  {.path = "listeners[].http.h2c", .type = Type::boolean, .fallback = "false", .help = "true: over connections without TLS, too, a client that begins with HTTP/2's preface (prior knowledge) is served by it. For gRPC clients and proxies of a network that is trusted; browsers never ask."},
  {.path = "listeners[].http.http2", .type = Type::section, .fallback = "", .help = "HTTP/2 (docs/http2.md)."},
  {.path = "listeners[].http.http2.max_streams", .type = Type::integer, .fallback = "100", .least = 1, .most = 1000, .help = "Requests of one connection at once. A handler counts until its answer is complete, whatever has become of its stream; more are refused (REFUSED_STREAM), which clients repeat."},
  {.path = "listeners[].http.http2.stream_window", .type = Type::bytes, .fallback = "256KiB", .least = 65'535, .most = 16 * kMiB, .help = "Of a request's body, what may wait for its handler."},
  {.path = "listeners[].http.http2.connection_window", .type = Type::bytes, .fallback = "1MiB", .least = 65'535, .most = 64 * kMiB, .help = "The same of all bodies of a connection together, and the most of one. A client can fill twice that: what waits, and what is being read."},
  {.path = "listeners[].http.http2.glitches", .type = Type::integer, .fallback = "1000", .least = 100, .most = 1'000'000, .help = "Points of a connection for frames that cost work and bring nothing (PING 4, SETTINGS 8, RST_STREAM 3, a DATA without data 4, a CONTINUATION 5, a stream that breaks a rule 10, one that is refused 2, others 1), a tenth of which is forgiven each second: there it ends with ENHANCE_YOUR_CALM."},
  {.path = "listeners[].http.http2.upgrade", .type = Type::boolean, .fallback = "false", .help = "true: over connections without TLS a request of HTTP/1.1 without a body that asks for it by Upgrade: h2c and HTTP2-Settings (RFC 7540) is answered 101, then by HTTP/2. RFC 9113 has withdrawn it; for clients that know nothing else."},
  {.path = "listeners[].http.access_log", .type = Type::section, .fallback = "", .help = "A line per answer."},
  FIBERD_ACCESS_LOG_ROWS("listeners[].http.access_log"),
  {.path = "listeners[].http.server", .type = Type::string, .fallback = "fiberd", .help = "The Server field of answers; \"\" leaves it out."},
  {.path = "listeners[].http.hosts", .type = Type::strings, .fallback = "", .help = "Hosts that are served, without port; \"*.example.org\" is all below it. Others get 421. Default all."},
  {.path = "listeners[].http.error_pages", .type = Type::pairs, .fallback = "", .help = "Files with the bodies of errors, by status: {404: ./404.html}. Read at start and by each reload, at most 64KiB each. ${request_id} and ${trace_id} in them are the request's. Default: text, JSON or HTML by Accept."},
  {.path = "listeners[].http.mime_types", .type = Type::pairs, .fallback = "", .help = "Media types of files by extension, before those that are known: {\".webmanifest\": application/manifest+json}."},
  {.path = "listeners[].http.forwarded", .type = Type::choice, .fallback = "x_forwarded_for", .choices = "x_forwarded_for|forwarded|off", .help = "The field in which trusted_proxies name the client: the one that your proxies write, for they pass on the other as the client sent it."},
  FIBERD_FILTER_ROWS("listeners[].http"),
  FIBERD_REQUEST_LIMIT_ROWS("listeners[].http"),
  {.path = "listeners[].http.routes", .type = Type::list, .fallback = "", .help = "What is answered. Routes of the request's host are looked at first, then those of any host; in each an exact path beats the longest prefix. Each route has exactly one of respond, echo, redirect, files, websocket, handler."},
  {.path = "listeners[].http.routes[].path", .type = Type::string, .fallback = "", .help = "\"/exact\", or \"/prefix/*\" for everything below /prefix/, to which /prefix is redirected unless a route has that path. Requests' paths are compared in normal form: decoded once, dot segments and empty ones (//) removed, without query. Required."},
  {.path = "listeners[].http.routes[].methods", .type = Type::strings, .fallback = "", .help = "Methods it serves; default all (files: GET, and nothing but GET and HEAD is allowed). GET brings HEAD."},
  {.path = "listeners[].http.routes[].host", .type = Type::string, .fallback = "", .help = "Only requests for this host, without port; \"*.example.org\" is all below it. An exact host beats the longest wildcard, which beats no host. Default any."},
  {.path = "listeners[].http.routes[].timeout", .type = Type::duration, .fallback = "", .least = kSecond / 1000, .most = kDay, .help = "Instead of timeouts.request."},
  {.path = "listeners[].http.routes[].body_size", .type = Type::bytes, .fallback = "", .least = 0, .most = kTiB, .help = "Instead of limits.body_size."},
  {.path = "listeners[].http.routes[].require_length", .type = Type::boolean, .fallback = "false", .help = "Content must say its length: chunked requests, and POST, PUT and PATCH without Content-Length, get 411."},
  {.path = "listeners[].http.routes[].priority", .type = Type::choice, .fallback = "normal", .choices = "low|normal|high", .help = "When memory runs short, low is answered 503 first, then normal (memory.shed_at), high last."},
  {.path = "listeners[].http.routes[].error_pages", .type = Type::pairs, .fallback = "", .help = "As the listener's error_pages, before them."},
  {.path = "listeners[].http.routes[].access_log", .type = Type::section, .fallback = "", .help = "Of this route; what is not written is as in the listener's."},
  FIBERD_ACCESS_LOG_ROWS("listeners[].http.routes[].access_log"),
  FIBERD_FILTER_ROWS("listeners[].http.routes[]"),
  {.path = "listeners[].http.routes[].respond", .type = Type::section, .fallback = "", .help = "The same answer each time."},
  {.path = "listeners[].http.routes[].respond.status", .type = Type::integer, .fallback = "200", .least = 200, .most = 599, .help = "Status code."},
  {.path = "listeners[].http.routes[].respond.body", .type = Type::string, .fallback = "", .help = "Body. Without one an error's status has its page, or text, JSON or HTML by Accept.", .variables = true},
  {.path = "listeners[].http.routes[].respond.content_type", .type = Type::string, .fallback = "text/plain; charset=utf-8", .help = "Content-Type."},
  {.path = "listeners[].http.routes[].respond.headers", .type = Type::pairs, .fallback = "", .help = "Further fields, name: value.", .variables = true},
  {.path = "listeners[].http.routes[].echo", .type = Type::section, .fallback = "", .help = "Sends the request's body back: {}."},
  {.path = "listeners[].http.routes[].redirect", .type = Type::section, .fallback = "", .help = "Sends the client elsewhere."},
  {.path = "listeners[].http.routes[].redirect.location", .type = Type::string, .fallback = "", .help = "The Location field. Required.", .variables = true},
  {.path = "listeners[].http.routes[].redirect.status", .type = Type::integer, .fallback = "308", .least = 301, .most = 308, .help = "301, 302, 303, 307 or 308."},
  {.path = "listeners[].http.routes[].files", .type = Type::section, .fallback = "", .help = "Serves files: below a prefix the rest of the path under root, for another path all of it."},
  {.path = "listeners[].http.routes[].files.root", .type = Type::string, .fallback = "", .help = "A directory. Nothing outside of it is served. Its name is looked up anew for each file that is opened: a link that is turned to another release takes effect within two seconds. Required."},
  {.path = "listeners[].http.routes[].files.index", .type = Type::strings, .fallback = "[index.html]", .help = "Names tried for a directory."},
  {.path = "listeners[].http.routes[].files.cache_control", .type = Type::string, .fallback = "", .help = "The Cache-Control field of what is sent, e.g. \"public, max-age=3600\"; default none."},
  {.path = "listeners[].http.routes[].files.precompressed", .type = Type::strings, .fallback = "", .help = "Of br, zstd, gzip, best first: a sibling called the same with .br, .zst or .gz behind is sent to clients that accept it, unless it is older than the file. Default none."},
  {.path = "listeners[].http.routes[].files.try_files", .type = Type::strings, .fallback = "", .help = "Names below root tried in order; $path, or ${path}, stands for the request's path, e.g. [$path, $path.html, $path/]; other variables are refused. One that ends in / stands for its index; where that is the request's own path without its slash (dir for dir/), the answer is a redirect to it. Default: the path as it is."},
  {.path = "listeners[].http.routes[].files.fallback", .type = Type::string, .fallback = "", .help = "A file below root sent with status 200 where there is none (single-page applications); default 404."},
  {.path = "listeners[].http.routes[].files.listing", .type = Type::boolean, .fallback = "false", .help = "Lists directories without an index, and beside try_files those for which none of them is there, as HTML or, by Accept, as JSON. Of more than 10000 names only 10000 are listed, those that the file system gives first; the page says so, and the answer has the field Listing-Truncated: ?1. Links are listed as what they lead to, where that is served."},
  {.path = "listeners[].http.routes[].files.ranges", .type = Type::integer, .fallback = "16", .least = 0, .most = 256, .help = "Most ranges of one request; with more it gets the whole file. 0: no ranges."},
  {.path = "listeners[].http.routes[].websocket", .type = Type::section, .fallback = "", .help = "Serves WebSockets (RFC 6455). `websocket: echo` sends each message back. Whoever asks for none gets 426.", .shorthand = "handler"},
  {.path = "listeners[].http.routes[].websocket.handler", .type = Type::choice, .fallback = "echo", .choices = "echo", .help = "What is done with messages. WebSockets of a program's own are a handler (docs/handlers.md)."},
  {.path = "listeners[].http.routes[].websocket.message_size", .type = Type::bytes, .fallback = "1MiB", .least = 1, .most = 1024 * kMiB, .help = "A message, unpacked; a larger one ends the WebSocket with 1009."},
  {.path = "listeners[].http.routes[].websocket.ping_interval", .type = Type::duration, .fallback = "30s", .least = 0, .most = kDay, .help = "A client that is silent so long is sent a ping. 0s: never."},
  {.path = "listeners[].http.routes[].websocket.idle_timeout", .type = Type::duration, .fallback = "75s", .least = 0, .most = kDay, .help = "A client of which nothing comes so long, not even the answer to a ping, is closed with 1001. 0s: never."},
  {.path = "listeners[].http.routes[].websocket.message_timeout", .type = Type::duration, .fallback = "60s", .least = kSecond / 1000, .most = kDay, .help = "From a message's first byte to its last; a slower one ends the WebSocket with 1008."},
  {.path = "listeners[].http.routes[].websocket.compression", .type = Type::boolean, .fallback = "false", .help = "permessage-deflate (RFC 7692) with clients that offer it, with windows of 4KiB: some 40KiB more of each that uses it."},
  {.path = "listeners[].http.routes[].websocket.origins", .type = Type::strings, .fallback = "", .help = "Pages that browsers may open it from: \"https://a.example\", \"https://*.a.example\", same (the host that is asked); others get 403. Clients without Origin are no browsers, and are let in. Default all."},
  {.path = "listeners[].http.routes[].websocket.subprotocols", .type = Type::strings, .fallback = "", .help = "Names of Sec-WebSocket-Protocol; the first of the client's that is among them is agreed on."},
  {.path = "listeners[].http.routes[].handler", .type = Type::string, .fallback = "", .help = "A handler of the program's own, by the name it was registered with in C++ (docs/handlers.md)."},
  {.path = "listeners[].http.routes[].proxy", .type = Type::section, .fallback = "", .help = "Passes requests to an upstream.", .available = false},
  FIBERD_REQUEST_LIMIT_ROWS("listeners[].http.routes[]"),
  {.path = "listeners[].tcp", .type = Type::section, .fallback = "", .help = "Serves plain TCP. Exactly one of echo, discard and handler."},
  {.path = "listeners[].tcp.echo", .type = Type::section, .fallback = "", .help = "Sends back what comes: {}."},
  {.path = "listeners[].tcp.discard", .type = Type::section, .fallback = "", .help = "Reads and forgets: {}."},
  {.path = "listeners[].tcp.handler", .type = Type::string, .fallback = "", .help = "A handler of the program's own, by the name it was registered with in C++ (docs/handlers.md)."},
  {.path = "listeners[].tcp.timeouts", .type = Type::section, .fallback = "", .help = "How long a client may take."},
  {.path = "listeners[].tcp.timeouts.idle", .type = Type::duration, .fallback = "0s", .least = 0, .most = kDay, .help = "Without a byte; 0s: no limit. Not for handler, which sets deadlines of its own."},
  FIBERD_RATE_LIMIT_ROWS("listeners[].tcp", "Connections"),
  {.path = "listeners[].tcp.rate_limit.key", .type = Type::string, .fallback = "none", .help = "Whose bucket: none (one for all), or address (the client's IPv4 address or IPv6 /64)."},
  FIBERD_CONCURRENCY_ROWS("listeners[].tcp", "Connections served"),
  FIBERD_CODEL_ROWS("listeners[].tcp"),
  FIBERD_WORKER_POOL_ROWS("listeners[].tcp", "Connections"),
  {.path = "listeners[].tcp.limits", .type = Type::section, .fallback = "", .help = "How much clients may take."},
  {.path = "listeners[].tcp.limits.connections", .type = Type::integer, .fallback = "10000", .least = 1, .most = 10'000'000, .help = "Open at once; more are closed at once and counted."},
  {.path = "listeners[].tcp.limits.connections_per_address", .type = Type::integer, .fallback = "0", .least = 0, .most = 10'000'000, .help = "Open at once of one IPv4 address, or one IPv6 /64; more are closed at once and counted. 0: no bound."},
  {.path = "listeners[].aggregate", .type = Type::section, .fallback = "", .help = "Takes StatsD lines with tags by TCP and UDP and aggregates them. The admin listener serves the result at /aggregate/NAME/metrics and /aggregate/NAME/json."},
  {.path = "listeners[].aggregate.protocol", .type = Type::choice, .fallback = "both", .choices = "both|tcp|udp", .help = "both: TCP and UDP on the same port.", .reloadable = false},
  {.path = "listeners[].aggregate.series", .type = Type::integer, .fallback = "10000", .least = 1, .most = 10'000'000, .help = "Most series: pairs of a name and tags. Lines that would make one more are refused and counted.", .reloadable = false},
  {.path = "listeners[].aggregate.set_members", .type = Type::integer, .fallback = "100000", .least = 0, .most = 100'000'000, .help = "Most distinct members of all sets together in one interval. Sets are counted exactly; further members are refused and counted.", .reloadable = false},
  {.path = "listeners[].aggregate.flush_interval", .type = Type::duration, .fallback = "10s", .least = kSecond / 100, .most = kHour, .help = "How often the pages are renewed and upstreams are sent to; percentiles and sets are those of one interval.", .reloadable = false},
  {.path = "listeners[].aggregate.expire", .type = Type::duration, .fallback = "5m", .least = 0, .most = kDay, .help = "A series for which no line came for so long, and at least one interval, is forgotten. 0s: never.", .reloadable = false},
  {.path = "listeners[].aggregate.percentiles", .type = Type::strings, .fallback = "[0.5, 0.9, 0.99]", .help = "Of timers, histograms and distributions: ascending, 0 … 1, at most 16; each is right within 1 %.", .reloadable = false},
  {.path = "listeners[].aggregate.line_size", .type = Type::bytes, .fallback = "8KiB", .least = 64, .most = 64 * kKiB, .help = "A line; longer ones are refused and counted.", .reloadable = false},
  {.path = "listeners[].aggregate.receive_buffer", .type = Type::bytes, .fallback = "0", .least = 0, .most = 1024 * kMiB, .help = "Of the UDP socket, capped by net.core.rmem_max; 0: the system's default.", .reloadable = false},
  {.path = "listeners[].aggregate.flush", .type = Type::list, .fallback = "", .help = "Where each interval's metrics are sent to; each item has exactly one of statsd and prometheus.", .reloadable = false},
  {.path = "listeners[].aggregate.flush[].statsd", .type = Type::string, .fallback = "", .help = "A StatsD server: \"host:port\" or \"udp://host:port\" by UDP, \"tcp://host:port\" by TCP."},
  {.path = "listeners[].aggregate.flush[].prometheus", .type = Type::string, .fallback = "", .help = "A URL that takes Prometheus' text format by POST, such as a Pushgateway's: \"http://host:9091/metrics/job/fiberd\". Of https:// the certificate must lead to one of the system's authorities (package ca-certificates, or the file that SSL_CERT_FILE names in the environment) or of tls.ca, and have the host."},
  {.path = "listeners[].aggregate.flush[].tls", .type = Type::section, .fallback = "", .help = "Of an https:// URL: its certificate must lead to an authority that is believed, and have the URL's host. The files are read at the start."},
  {.path = "listeners[].aggregate.flush[].tls.ca", .type = Type::string, .fallback = "", .help = "A PEM file with the certificates of the authorities that are believed, instead of the system's (package ca-certificates)."},
  {.path = "listeners[].aggregate.flush[].tls.certificate", .type = Type::string, .fallback = "", .help = "A PEM file: a certificate, behind it its chain, that the server is shown if it asks."},
  {.path = "listeners[].aggregate.flush[].tls.key", .type = Type::string, .fallback = "", .help = "A PEM file with its private key, not encrypted."},
  {.path = "listeners[].aggregate.timeouts", .type = Type::section, .fallback = "", .help = "How long a TCP client may take."},
  {.path = "listeners[].aggregate.timeouts.idle", .type = Type::duration, .fallback = "0s", .least = 0, .most = kDay, .help = "Without a byte; 0s: no limit.", .reloadable = false},
  {.path = "listeners[].aggregate.limits", .type = Type::section, .fallback = "", .help = "How much TCP clients may take."},
  {.path = "listeners[].aggregate.limits.connections", .type = Type::integer, .fallback = "10000", .least = 1, .most = 10'000'000, .help = "Open at once; more are closed at once and counted."},
  {.path = "listeners[].aggregate.limits.connections_per_address", .type = Type::integer, .fallback = "0", .least = 0, .most = 10'000'000, .help = "Open at once of one IPv4 address, or one IPv6 /64; more are closed at once and counted. 0: no bound."},
});
#undef FIBERD_RATE_LIMIT_ROWS
#undef FIBERD_CONCURRENCY_ROWS
#undef FIBERD_CODEL_ROWS
#undef FIBERD_WORKER_POOL_ROWS
#undef FIBERD_REQUEST_LIMIT_ROWS
#undef FIBERD_FILTER_ROWS
#undef FIBERD_ACCESS_LOG_ROWS
// clang-format on

std::string_view to_string(Type type) noexcept {
  switch (type) {
    case Type::section: return "section";
    case Type::list: return "list";
    case Type::integer: return "integer";
    case Type::auto_integer: return "auto or integer";
    case Type::bytes: return "size";
    case Type::auto_bytes: return "auto or size";
    case Type::rate: return "rate";
    case Type::duration: return "duration";
    case Type::boolean: return "true or false";
    case Type::string: return "string";
    case Type::choice: return "one of";
    case Type::octal: return "octal mode";
    case Type::strings: return "list of strings";
    case Type::texts: return "string or list of strings";
    case Type::pairs: return "mapping of strings";
  }
  return "unknown";
}

std::span<const Row> schema() noexcept { return kRows; }

const Row* find_row(std::string_view path) noexcept {
  // Each key of each route is looked up, and there may be thousands.
  static const auto index = [] {
    std::unordered_map<std::string_view, const Row*> rows;
    for (const Row& row : kRows) rows.emplace(row.path, &row);
    return rows;
  }();
  const auto found = index.find(path);
  return found == index.end() ? nullptr : found->second;
}

bool is_available(const Row& row) noexcept {
  for (std::string_view path = row.path; !path.empty();) {
    const Row* const at = find_row(path);
    if (at != nullptr && !at->available) return false;
    path = path.ends_with("[]") ? path.substr(0, path.size() - 2)
                                : path.substr(0, path.rfind('.') == std::string_view::npos ? 0 : path.rfind('.'));
  }
  return true;
}

std::string allowed_by(const Row& row) {
  switch (row.type) {
    case Type::integer:
    case Type::auto_integer: return std::to_string(row.least) + " … " + std::to_string(row.most);
    case Type::bytes:
    case Type::auto_bytes: return format_bytes(row.least) + " … " + format_bytes(row.most);
    case Type::rate: return format_rate(row.least) + " … " + format_rate(row.most);
    case Type::duration:
      return format_duration(std::chrono::nanoseconds(row.least)) + " … " +
             format_duration(std::chrono::nanoseconds(row.most));
    case Type::choice: {
      const std::string later = "|" + std::string(row.later) + "|";
      std::string text;
      for (std::string_view rest = row.choices; !rest.empty();) {
        const std::size_t bar = std::min(rest.find('|'), rest.size());
        const std::string choice(rest.substr(0, bar));
        if (later.find("|" + choice + "|") == std::string::npos) text += (text.empty() ? "" : ", ") + choice;
        rest.remove_prefix(std::min(bar + 1, rest.size()));
      }
      return text;
    }
    default: return "";
  }
}

std::string render_schema_markdown() {
  std::string out =
      "# Configuration\n\n"
      "<!-- Generated by `fiberd config schema --markdown`; `make docs` renews it. -->\n\n"
      "One YAML file. `fiberd check FILE` says everything that is wrong with it at once, with file, line and column.\n"
      "`fiberd config default` prints the configuration that runs without a file. `--set key=value` replaces one key,\n"
      "e.g. `--set runtime.gomaxprocs=2` or `--set 'listeners[0].address=127.0.0.1:8081'`.\n\n"
      "`include: [conf.d/*.yaml]` adds the listeners of other files; `\"${NAME}\"` and `\"${NAME:-default}\"` in a "
      "value "
      "are\nof the environment (docs/operations.md). Strings with a brace or a colon need quotes.\n\n"
      "Filters (`headers`, `allow`, `deny`, `basic_auth`, `cors`, `compress`, `request_id`, `cache_control`,\n"
      "`filters`) stand in the order in which their keys are written ([filters.md](filters.md)). Values whose meaning\n"
      "says so may hold request variables: `${host}`, `${path}`, `${rest}`, `${query}`, `${method}`, `${scheme}`,\n"
      "`${client}`, `${request_id}`, `${header.NAME}`, and of TLS `${tls_version}`, `${tls_cipher}`, "
      "`${tls_server_name}`, `${client_cert_verified}`, `${client_cert_subject}`, `${client_cert_names}`, "
      "`${client_cert_fingerprint}` (docs/tls.md); `$$` is a dollar sign.\n\n"
      "Durations need a unit: `250us`, `10ms`, `1.5s`, `5m`, `1h`, `1d`; `1m30s` has parts from the greatest down. "
      "Sizes are binary: `512`, `16KiB`, `1MiB`, `2GiB`.\n"
      "Rates say per what: `100/s`, `30/m`, `5/h`.\n"
      "Anchors and aliases are refused, and so are duplicate and unknown keys.\n\n"
      "| key | type | default | allowed | meaning |\n|---|---|---|---|---|\n";
  for (const Row& row : kRows) {
    if (!is_available(row)) continue;
    out += "| `" + std::string(row.path) + "` | " + std::string(to_string(row.type)) + " | ";
    if (!row.fallback.empty()) out += "`" + std::string(row.fallback) + "`";
    out += " | " + allowed_by(row) + " | " + std::string(row.help) + " |\n";
  }
  return out;
}

std::string render_schema_yaml() {
  auto quoted = [](std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    return out + "\"";
  };
  std::string out;
  for (const Row& row : kRows) {
    if (!is_available(row)) continue;
    out += quoted(row.path) + ":\n  type: " + quoted(to_string(row.type)) + "\n";
    if (!row.fallback.empty()) out += "  default: " + quoted(row.fallback) + "\n";
    if (const std::string range = allowed_by(row); !range.empty()) out += "  allowed: " + quoted(range) + "\n";
    out += "  reloadable: ";
    out += row.reloadable ? "true" : "false";
    out += "\n  help: " + quoted(row.help) + "\n";
  }
  return out;
}

}  // namespace fiberd::config

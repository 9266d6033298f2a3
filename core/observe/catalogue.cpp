#include "core/observe/catalogue.hpp"

#include <algorithm>
#include <stdexcept>

namespace fiberd::observe {

namespace {

using enum metric::Type;
using enum Source;

constexpr MetricInfo kCatalogue[] = {
    // Scheduler
    {"fiberd_sched_gomaxprocs", gauge, runtime, {}, "processors", "Processors that may run fibers at the same time."},
    {"fiberd_sched_processors_idle", gauge, runtime, {}, "processors", "Processors without work."},
    {"fiberd_sched_machines",
     gauge,
     runtime,
     {},
     "threads",
     "Scheduler threads, handed-off ones and those in blocking sections included."},
    {"fiberd_sched_machines_spare",
     gauge,
     runtime,
     {},
     "threads",
     "Threads kept for the next blocking sections and hand-offs."},
    {"fiberd_sched_sections_blocked",
     gauge,
     runtime,
     {},
     "sections",
     "Blocking sections that last, whose Processor another thread has."},
    {"fiberd_sched_sections_retaken_total",
     counter,
     runtime,
     {},
     "sections",
     "Blocking sections that lasted so long that their Processor was taken."},
    {"fiberd_sched_sections_waited_total",
     counter,
     runtime,
     {},
     "sections",
     "Blocking sections that had to wait to begin: runtime.machines_max threads, or all that the system gives."},
    {"fiberd_sched_sections_stalled_total",
     counter,
     runtime,
     {},
     "sections",
     "Blocking sections that kept their Processor, since there was no thread to go on with it."},
    {"fiberd_sched_threads_locked", gauge, runtime, {}, "threads", "Threads that belong to one fiber (LockThread)."},
    {"fiberd_sched_locks_refused_total",
     counter,
     runtime,
     {},
     "locks",
     "Threads that a LockThread asked for in vain: runtime.machines_max, or all that the system gives."},
    {"fiberd_sched_switches_total", counter, runtime, {}, "switches", "Switches from the scheduler to a fiber."},
    {"fiberd_sched_steals_total", counter, runtime, {}, "fibers", "Fibers taken from another processor's queue."},
    {"fiberd_sched_handoffs_total",
     counter,
     runtime,
     {},
     "handoffs",
     "Processors replaced because a fiber held them too long."},
    {"fiberd_sched_budget_yields_total",
     counter,
     runtime,
     {},
     "yields",
     "Yields forced on fibers that did not park within their budget."},
    {"fiberd_sched_parks_total", counter, runtime, {"reason"}, "parks", "Waits of fibers, by reason."},
    {"fiberd_sched_queue_depth",
     gauge,
     runtime,
     {"queue"},
     "fibers",
     "Runnable fibers queued: local (sum over processors) or global."},
    {"fiberd_sched_latency_seconds",
     histogram,
     runtime,
     {},
     "seconds",
     "Time fibers spend runnable before they run; one switch in 256 is sampled."},
    // Fibers
    {"fiberd_fibers", gauge, runtime, {"state"}, "fibers", "Fibers alive, by state: runnable, running, waiting."},
    {"fiberd_fibers_created_total", counter, runtime, {}, "fibers", "Fibers spawned."},
    {"fiberd_fibers_ended_total", counter, runtime, {}, "fibers", "Fibers that ended, by exception or not."},
    {"fiberd_fibers_panicked_total", counter, runtime, {}, "fibers", "Fibers ended by an exception that left them."},
    {"fiberd_channel_unsent_total",
     counter,
     process,
     {},
     "values",
     "Values that went nowhere: a try_send found its channel full, or a select with a default branch could not send."},
    {"fiberd_deadlocks_total",
     counter,
     runtime,
     {},
     "deadlocks",
     "Times that every fiber waited for another one and nothing was left to wake them; the log has their stacks."},
    {"fiberd_fibers_refused_total",
     counter,
     runtime,
     {"reason"},
     "fibers",
     "Spawns refused by the admission hook or for want of stacks (out_of_stacks, out_of_large_stacks …) or memory, by "
     "the error they were "
     "given."},
    // Contexts
    {"fiberd_contexts",
     gauge,
     process,
     {},
     "contexts",
     "Contexts that can end by themselves and are still referred to."},
    {"fiberd_contexts_never_canceled_total",
     counter,
     process,
     {},
     "contexts",
     "Contexts that ended without ever having been done: somebody forgot to cancel; /debug/contexts says where."},
    // Stacks
    {"fiberd_stacks",
     gauge,
     runtime,
     {"class", "state"},
     "stacks",
     "Fiber stacks of normal, small and large size: in_use or cached for reuse."},
    {"fiberd_stack_size_bytes", gauge, runtime, {"class"}, "bytes", "Address space of one fiber stack."},
    {"fiberd_stack_bytes",
     gauge,
     runtime,
     {"class", "kind"},
     "bytes",
     "Bytes of fiber stacks: reserved (address space) or resident (memory)."},
    {"fiberd_stack_high_water_bytes",
     gauge,
     runtime,
     {"class"},
     "bytes",
     "Deepest use of one fiber stack seen so far."},
    {"fiberd_stacks_unguarded", gauge, runtime, {}, "stacks", "Stacks without a guard page (canary only)."},
    {"fiberd_stacks_limit",
     gauge,
     runtime,
     {},
     "stacks",
     "How many stacks of normal size there may be; with guards by mprotect what vm.max_map_count allows."},
    {"fiberd_stacks_set_aside",
     gauge,
     runtime,
     {"state"},
     "stacks",
     "Of these, set aside for the admin listener and the drain: in_use when all others are, or free."},
    {"fiberd_stack_guard_info",
     gauge,
     runtime,
     {"mode"},
     "1",
     "Stack guards in force: guard_install, mprotect or canary."},
    // Poller and timers
    {"fiberd_poller_calls_total", counter, runtime, {}, "calls", "Calls of epoll_wait."},
    {"fiberd_poller_events_total", counter, runtime, {}, "events", "Events that epoll_wait returned."},
    {"fiberd_poller_descriptors", gauge, runtime, {}, "descriptors", "Descriptors registered with the pollers."},
    {"fiberd_poller_wakeups_total", counter, runtime, {}, "wakeups", "Sleeping processors woken through an eventfd."},
    {"fiberd_timers_armed", gauge, runtime, {}, "timers", "Timers in the heaps."},
    {"fiberd_timers_fired_total", counter, runtime, {}, "timers", "Timers that fired."},
    // Blocking pool
    {"fiberd_blocking_threads", gauge, runtime, {}, "threads", "Threads of the blocking pool."},
    {"fiberd_blocking_busy", gauge, runtime, {}, "threads", "Threads of the blocking pool that run a job."},
    {"fiberd_blocking_queued", gauge, runtime, {}, "jobs", "Jobs that wait for a thread of the blocking pool."},
    {"fiberd_blocking_jobs_total", counter, runtime, {}, "jobs", "Jobs the blocking pool has run."},
    // Daemon
    {"fiberd_bugs_total",
     counter,
     process,
     {},
     "bugs",
     "Broken invariants found (each is logged); always 0 in health."},
    {"fiberd_build_info", gauge, process, {"version", "compiler"}, "1", "What is running."},
    {metric::kSeriesRefused,
     counter,
     registry,
     {"family"},
     "requests",
     "Requests for a series that went to 'other': more than the family may have, or a label value that is not UTF-8.",
     10'000},
    {"fiberd_access_log_dropped_total",
     counter,
     registry,
     {"listener"},
     "lines",
     "Access log lines dropped because nobody read them in time, the disk was too slow, or they could not be written."},
    {"fiberd_log_dropped_total",
     counter,
     registry,
     {},
     "lines",
     "Lines of the daemon's own log dropped because nobody read them in time, or because they could not be written."},
    {"fiberd_config_last_reload_successful",
     gauge,
     registry,
     {},
     "1 or 0",
     "1 while the configuration that serves is what the last reload asked for, or the start's; 0 when the last reload "
     "was refused."},
    {"fiberd_config_last_reload_success_timestamp_seconds",
     gauge,
     registry,
     {},
     "seconds since 1970",
     "When the configuration that serves began to."},
    {"fiberd_config_reloads_total",
     counter,
     registry,
     {"result"},
     "reloads",
     "Reloads of the configuration by what came of them: success, failure (the old one went on), stopping (refused "
     "because the daemon stopped)."},
    // Listeners
    {"fiberd_listener_connections", gauge, registry, {"listener"}, "connections", "Connections open."},
    {"fiberd_listener_connections_active",
     gauge,
     registry,
     {"listener"},
     "connections",
     "HTTP connections that are served by a fiber now."},
    {"fiberd_listener_connections_idle",
     gauge,
     registry,
     {"listener"},
     "connections",
     "Keep-alive connections that wait for a request without a fiber."},
    {"fiberd_listener_accepted_total", counter, registry, {"listener"}, "connections", "Connections accepted."},
    {"fiberd_listener_refused_total",
     counter,
     registry,
     {"listener", "reason"},
     "connections",
     "Connections closed before they were served, by reason."},
    {"fiberd_listener_accept_errors_total",
     counter,
     registry,
     {"listener"},
     "errors",
     "Failed accepts other than for lack of descriptors."},
    // Limits
    {"fiberd_admission_refused_total",
     counter,
     registry,
     {"listener", "route", "limit", "reason", "dry_run"},
     "requests",
     "Requests, or connections of a TCP listener, that a limit refused, by limit (rate_limit, concurrency, "
     "worker_pool) "
     "and reason (canceled: the client went away while it waited); with dry_run=true: would have refused.",
     20'000},
    {"fiberd_admission_queued",
     gauge,
     registry,
     {"listener", "route", "limit"},
     "requests",
     "Requests or connections that wait for a place or a worker."},
    {"fiberd_admission_in_flight",
     gauge,
     registry,
     {"listener", "route", "limit"},
     "requests",
     "Requests or connections that have a place or a worker."},
    {"fiberd_admission_limit",
     gauge,
     registry,
     {"listener", "route", "limit"},
     "requests",
     "Present bound of fiberd_admission_in_flight; with concurrency.adaptive it moves."},
    {"fiberd_admission_wait_seconds",
     histogram,
     registry,
     {"listener", "route", "limit"},
     "seconds",
     "Waits for a place (of those who had to wait and got one) or for a worker (of all)."},
    {"fiberd_admission_keys", gauge, registry, {"listener", "route"}, "keys", "Buckets of a rate limit with a key."},
    {"fiberd_admission_keys_evicted_total",
     counter,
     registry,
     {"listener", "route", "owing"},
     "keys",
     "Buckets forgotten for new keys; owing=true: the new key took over the debt, so rate_limit.keys is too small."},
    // HTTP
    {"fiberd_http_requests_total",
     counter,
     registry,
     {"listener", "route", "code"},
     "requests",
     "Requests answered, by status code.",
     20'000},
    {"fiberd_http_request_duration_seconds",
     histogram,
     registry,
     {"listener", "route"},
     "seconds",
     "Time from the end of a request's head to the end of its answer."},
    {"fiberd_http_timeouts_total",
     counter,
     registry,
     {"listener", "kind"},
     "timeouts",
     "Time-outs, by kind: header, body, body_rate, request, write, write_rate, idle."},
    {"fiberd_http_refused_total",
     counter,
     registry,
     {"listener", "reason"},
     "requests",
     "Requests refused before a handler saw them, by reason."},
    {"fiberd_http_reclaimed_total",
     counter,
     registry,
     {"listener", "state"},
     "connections",
     "Connections closed to make room when places, descriptors or memory ran low: end (after their last answer), idle, "
     "or "
     "in the middle of a head."},
    {"fiberd_http_closed_total",
     counter,
     registry,
     {"listener", "reason"},
     "connections",
     "Connections closed behind an answer though the client would have gone on: unread_body (more than is read for "
     "nothing), age, requests (their limits), truncated (the answer could not be finished)."},
    {"fiberd_http_handler_exceptions_total",
     counter,
     registry,
     {"listener"},
     "exceptions",
     "Exceptions that left a handler; each was answered 500 or ended its connection."},
    // Files
    {"fiberd_file_cache_files",
     gauge,
     registry,
     {},
     "files",
     "Files that are kept for the next request, in memory or open."},
    {"fiberd_file_cache_descriptors",
     gauge,
     registry,
     {},
     "descriptors",
     "Descriptors of the files that are kept open."},
    {"fiberd_file_cache_memory_bytes", gauge, registry, {}, "bytes", "Content of the files that are kept in memory."},
    {"fiberd_file_cache_lookups_total",
     counter,
     registry,
     {"result"},
     "lookups",
     "Files asked for: hit (was kept), miss (was opened), renewed (was kept, and had changed: one of the hits)."},
    {"fiberd_file_cache_evicted_total",
     counter,
     registry,
     {"reason"},
     "paths",
     "Paths whose files were let go: room (file_cache.files, its memory or descriptors were full), age (nobody asked), "
     "shortage (descriptors or memory ran short elsewhere)."},
    // Aggregation of metrics
    {"fiberd_aggregate_lines_total", counter, registry, {"listener", "type"}, "lines", "StatsD lines taken, by type."},
    {"fiberd_aggregate_refused_total",
     counter,
     registry,
     {"listener", "reason"},
     "lines",
     "StatsD lines refused: name, value, type, rate, tags, section (the line is bad), length (over line_size), series "
     "(one more than are allowed), name_clash (another metric has its name on the Prometheus page, or another spelling "
     "of "
     "its tags its labels), set_members (one "
     "more than are allowed), memory, unfinished (the connection ended in its middle), shutdown (cut at "
     "shutdown.timeout)."},
    {"fiberd_aggregate_series", gauge, registry, {"listener"}, "series", "Series at the end of the last interval."},
    {"fiberd_aggregate_series_expired_total",
     counter,
     registry,
     {"listener"},
     "series",
     "Series forgotten because no line came for them."},
    {"fiberd_aggregate_datagrams_total", counter, registry, {"listener"}, "datagrams", "StatsD datagrams read."},
    {"fiberd_aggregate_datagrams_dropped_total",
     counter,
     registry,
     {"listener", "where"},
     "datagrams",
     "StatsD datagrams dropped: by the kernel (its socket's buffer was full) or in the queue (dispatchers fell "
     "behind)."},
    {"fiberd_aggregate_receive_errors_total",
     counter,
     registry,
     {"listener"},
     "errors",
     "Errors of reading the UDP socket."},
    {"fiberd_aggregate_flushes_total",
     counter,
     registry,
     {"listener", "upstream", "result"},
     "intervals",
     "Intervals sent to an upstream: delivered (by UDP: sent), uncertain (sent, but a connection was reset or fell "
     "silent "
     "before all was acknowledged: what the upstream had read nobody knows, and it is not sent again), rejected (it "
     "answered that it will not take it), dropped (it was down for too long, or the daemon ended), superseded (a newer "
     "state was sent instead)."},
    {"fiberd_aggregate_flush_errors_total",
     counter,
     registry,
     {"listener", "upstream"},
     "tries",
     "Tries to send to an upstream that failed."},
    {"fiberd_tcp_handler_exceptions_total",
     counter,
     registry,
     {"listener"},
     "exceptions",
     "Exceptions that left a TCP handler; each ended its connection."},
    // Process: the names that every Prometheus client library uses
    {"process_cpu_seconds_total", counter, process, {}, "seconds", "User and system CPU time."},
    {"process_resident_memory_bytes", gauge, process, {}, "bytes", "Resident memory."},
    {"process_virtual_memory_bytes", gauge, process, {}, "bytes", "Virtual memory."},
    {"process_open_fds", gauge, process, {}, "descriptors", "Open file descriptors."},
    {"process_max_fds", gauge, process, {}, "descriptors", "Limit of open file descriptors."},
    {"process_threads", gauge, process, {}, "threads", "OS threads."},
    {"process_start_time_seconds", gauge, process, {}, "seconds", "Start of the process, Unix time."},
};

}  // namespace

std::span<const MetricInfo> catalogue() noexcept { return kCatalogue; }

const MetricInfo* find_metric(std::string_view name) noexcept {
  const auto found = std::ranges::find(catalogue(), name, &MetricInfo::name);
  return found == catalogue().end() ? nullptr : &*found;
}

metric::Family& register_metric(metric::Registry& registry, std::string_view name) {
  const MetricInfo* info = find_metric(name);
  if (info == nullptr || info->source != Source::registry)
    throw std::invalid_argument("observe: the catalogue has no family '" + std::string(name) + "' to register");
  metric::FamilySpec spec{
      .name = std::string(name), .help = std::string(info->help), .type = info->type, .max_series = info->max_series};
  for (const std::string_view label : info->labels)
    if (!label.empty()) spec.labels.emplace_back(label);
  return registry.family(spec);
}

void register_catalogue(metric::Registry& registry) {
  for (const MetricInfo& info : catalogue())
    if (info.source == Source::registry) register_metric(registry, info.name);
}

std::string render_metrics_markdown() {
  std::string out =
      "# Metrics\n\n"
      "Served as `/metrics` on the admin listener in Prometheus' text format 0.0.4. This page is generated from\n"
      "core/observe/catalogue.cpp; a test holds it against the code. Durations are seconds, sizes bytes. Label values\n"
      "are bounded: of one over 128 bytes the first 111, a `~` and 16 digits of a hash of the whole are shown (the "
      "same\n"
      "in every process), so long routes that begin alike stay apart. Beyond a family's limit (1,000 series unless\n"
      "noted), and for values that are not UTF-8, samples go to the series whose labels read `other`, and\n"
      "`fiberd_metric_series_refused_total` counts them.\n\n"
      "| name | type | labels | unit | meaning |\n|---|---|---|---|---|\n";
  for (const MetricInfo& info : catalogue()) {
    std::string labels;
    for (const std::string_view label : info.labels)
      if (!label.empty()) labels.append(labels.empty() ? "`" : ", `").append(label).append("`");
    out.append("| `").append(info.name).append("` | ").append(metric::to_string(info.type)).append(" | ");
    out.append(labels).append(" | ").append(info.unit).append(" | ").append(info.help);
    if (info.source == Source::registry && info.max_series != 1'000)
      out.append(" At most ").append(std::to_string(info.max_series)).append(" series.");
    out.append(" |\n");
  }
  return out;
}

}  // namespace fiberd::observe

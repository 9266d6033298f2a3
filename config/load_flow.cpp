#include "config/load_flow.hpp"

#include <algorithm>

#include "core/base/characters.hpp"

namespace fiberd::config {

namespace {

/// The NAME of header:NAME; empty, and reported, when it is none.
std::string read_header(const Reader& r, std::string_view key, std::string_view value, std::string_view others) {
  static constexpr std::string_view kHeader = "header:";
  static constexpr std::size_t kMost = 128;
  if (!value.starts_with(kHeader)) {
    r.report(key, "\"" + std::string(value) + "\" is not allowed; " + std::string(others) + "header:NAME");
    return {};
  }
  const std::string_view name = value.substr(kHeader.size());
  const bool good = !name.empty() && name.size() <= kMost && std::all_of(name.begin(), name.end(), [](char c) {
    return ascii::is_alnum(c) || c == '-' || c == '_';
  });
  if (!good) r.report(key, "\"" + std::string(name) + "\" is not a field name (letters, digits, - and _)");
  return good ? std::string(name) : std::string();
}

void require(const Reader& r, std::string_view key) {
  if (!r.has(key)) r.report("", std::string(key) + " is required");
}

RateLimitConfig read_rate_limit(const Reader& r, FlowOf what, bool nameless) {
  RateLimitConfig c;
  require(r, "rate");
  c.per_hour = r.rate("rate");
  c.burst = r.number("burst");
  const std::string key = r.text("key");
  if (key == "address") {
    c.key = LimitKey::address;
    if (nameless) r.report("key", "is not for unix: addresses, whose clients have none: all would share one bucket");
  } else if (key != "none") {
    if (what == FlowOf::requests) {
      c.key = LimitKey::header;
      c.header = read_header(r, "key", key, "none, address or ");
    } else {
      r.report("key", "\"" + key + "\" is not allowed; none or address");
    }
  }
  c.keys = r.number("keys");
  if (r.has("keys") && c.key == LimitKey::none) r.report("keys", "is for a key only: address, or header:NAME");
  if (what == FlowOf::requests) c.status = static_cast<unsigned>(r.number("status"));
  c.dry_run = r.boolean("dry_run");
  return c;
}

ConcurrencyConfig read_concurrency(const Reader& r, FlowOf what) {
  ConcurrencyConfig c;
  require(r, "limit");
  c.limit = static_cast<std::uint32_t>(r.number("limit"));
  c.queue = static_cast<std::uint32_t>(r.number("queue"));
  c.max_wait = r.duration("max_wait");
  const Reader codel = r.section("codel");
  c.target = codel.duration("target");
  c.interval = codel.duration("interval");
  if (codel.has("interval") && c.target.count() == 0)
    codel.report("interval", "is for a target, and target: 0s is none");
  c.dry_run = r.boolean("dry_run");
  for (const std::string_view key :
       {std::string_view("max_wait"), std::string_view("codel"), std::string_view("priority")})
    if (r.has(key) && c.queue == 0) r.report(key, "is for a queue, and there is none: set queue");
  if (what != FlowOf::requests) return c;
  if (r.has("priority")) c.priority_header = read_header(r, "priority", r.text("priority"), "");
  if (!r.has("adaptive")) return c;
  const Reader adaptive = r.section("adaptive");
  require(adaptive, "min");
  require(adaptive, "max");
  c.adaptive.emplace(static_cast<std::uint32_t>(adaptive.number("min")),
                     static_cast<std::uint32_t>(adaptive.number("max")));
  const auto [least, most] = *c.adaptive;
  if (adaptive.has("min") && adaptive.has("max") && least > most) adaptive.report("min", "is more than max");
  return c;
}

WorkerPoolConfig read_worker_pool(const Reader& r) {
  require(r, "workers");
  WorkerPoolConfig c;
  c.workers = static_cast<std::uint32_t>(r.number("workers"));
  c.least = static_cast<std::uint32_t>(r.number("least"));
  c.idle = r.duration("idle");
  c.queue = static_cast<std::uint32_t>(r.number("queue"));
  c.max_wait = r.duration("max_wait");
  c.dry_run = r.boolean("dry_run");
  if (r.has("workers") && c.least > c.workers) r.report("least", "is more than workers");
  if (r.has("max_wait") && c.queue == 0) r.report("max_wait", "is for a queue, and there is none: set queue");
  return c;
}

}  // namespace

FlowConfig read_flow(const Reader& at, FlowOf what, bool nameless) {
  FlowConfig f;
  if (at.has("rate_limit")) f.rate_limit = read_rate_limit(at.section("rate_limit"), what, nameless);
  if (at.has("concurrency")) f.concurrency = read_concurrency(at.section("concurrency"), what);
  if (at.has("worker_pool")) f.worker_pool = read_worker_pool(at.section("worker_pool"));
  if (what == FlowOf::connections && f.concurrency && f.worker_pool)
    at.report("worker_pool",
              "a connection is served by a place or by a worker; use one of concurrency and worker_pool");
  return f;
}

}  // namespace fiberd::config

#include "daemon/top/view.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>
#include <utility>

#include "daemon/top/display.hpp"

namespace fiberd::daemon::top {

namespace {

using Style = Line::Style;

constexpr std::array<std::pair<std::string_view, Sort>, 6> kSorts{{{"rate", Sort::rate},
                                                                   {"latency", Sort::latency},
                                                                   {"errors", Sort::errors},
                                                                   {"name", Sort::name},
                                                                   {"fibers", Sort::fibers},
                                                                   {"age", Sort::age}}};

std::string per_second(double n) { return short_count(n) + "/s"; }
std::string seconds_of(const std::optional<double>& s) { return s ? short_seconds(*s) : "-"; }
/// Of requests: what lies in the first bucket is known to be below its bound and no more.
std::string latency_of(const std::optional<double>& s, const Snapshot& now) {
  if (s && !now.latency_bounds.empty() && *s <= now.latency_bounds.front())
    return "<" + short_seconds(now.latency_bounds.front());
  return seconds_of(s);
}
std::string percent(double share) { return short_count(std::round(share * 100)) + "%"; }

template <class Row, class Before>
void put_in_order(std::vector<const Row*>& rows, Before before) {
  std::stable_sort(rows.begin(), rows.end(), [&](const Row* a, const Row* b) { return before(*a, *b); });
}

std::vector<const RouteRates*> ordered_routes(const Rates& rates, Sort sort) {
  std::vector<const RouteRates*> rows;
  for (const RouteRates& r : rates.routes) rows.push_back(&r);
  put_in_order(rows, [sort](const RouteRates& a, const RouteRates& b) {
    switch (sort) {
      case Sort::latency: return a.p99.value_or(-1) > b.p99.value_or(-1);
      case Sort::errors: return a.errors > b.errors;
      case Sort::name: return std::tie(a.route->listener, a.route->route) < std::tie(b.route->listener, b.route->route);
      default: return a.requests > b.requests;
    }
  });
  return rows;
}

std::vector<const SiteLine*> ordered_sites(const Snapshot& now, Sort sort) {
  std::vector<const SiteLine*> rows;
  for (const SiteLine& s : now.sites) rows.push_back(&s);
  put_in_order(rows, [sort](const SiteLine& a, const SiteLine& b) {
    switch (sort) {
      case Sort::age: return a.oldest_seconds > b.oldest_seconds;
      case Sort::name: return a.site < b.site;
      default: return a.count > b.count;
    }
  });
  return rows;
}

/// Lines that are told to be as wide as the screen, whatever is in them.
class Page {
 public:
  explicit Page(std::size_t columns) : columns_(columns) {}
  void add(std::string_view text, Style style = Style::plain) { lines_.push_back({style, fit(text, columns_)}); }
  [[nodiscard]] std::size_t columns() const noexcept { return columns_; }
  [[nodiscard]] std::vector<Line>& lines() noexcept { return lines_; }

 private:
  std::size_t columns_;
  std::vector<Line> lines_;
};

void add_summary(Page& page, const Snapshot& now, const Rates& r) {
  page.add("fiberd " + now.version + "  pid " + std::to_string(static_cast<std::int64_t>(now.pid)) + "  up " +
               short_seconds(now.uptime_seconds) + "  CPU " + percent(r.cpu) + "  mem " +
               short_bytes(now.resident_bytes) + "  fds " + short_count(now.open_fds) + "/" + short_count(now.max_fds),
           Style::bold);
  page.add("requests " + per_second(r.requests) + "  4xx " + per_second(r.client_errors) + "  5xx " +
           per_second(r.server_errors) + "  p50 " + latency_of(r.p50, now) + "  p90 " + latency_of(r.p90, now) +
           "  p99 " + latency_of(r.p99, now));
  page.add("conns " + short_count(now.connections) + "  accepted " + per_second(r.accepted) + "  refused " +
           per_second(r.refused) + "  in flight " + short_count(r.in_flight) +
           (now.has_leaks ? "  leaks " + short_count(now.leaks) : ""));
  page.add("fibers " + short_count(now.waiting) + " waiting, " + short_count(now.runnable) + " ready, " +
           short_count(now.running) + " running  born " + per_second(r.created) + "  steals " + per_second(r.steals));
  page.add("stalls " + per_second(r.stalls) + " (" + short_count(now.computes) + " compute, " +
           short_count(now.blocks) + " block, " + short_count(now.robbed) + " robbed)  switches " +
           per_second(r.switches));
  page.add("stacks " + short_count(now.stacks_in_use) + " in use, " + short_bytes(now.stack_reserved) + " reserved, " +
           short_bytes(now.stack_resident) + " resident  threads " + short_count(now.threads));
}

/// Two Processors a line, or one where the screen is narrow.
void add_load(Page& page, const Snapshot& now, const Rates& r, std::size_t most_lines) {
  const std::size_t a_line = page.columns() >= 64 ? 2 : 1;
  const std::size_t width = page.columns() / a_line;
  static constexpr std::size_t kAround = 22;  // "P12 [" "] 100% q 12345"
  const std::size_t bars = width > kAround + 4 ? width - kAround : 4;
  const std::size_t before_queue = 4 + 1 + bars + 1 + 5;
  const std::size_t queue = width > before_queue ? width - before_queue : 0;  // of a screen that is narrower: nothing
  const std::size_t shown = std::min(now.processors.size(), most_lines * a_line);
  std::string line;
  for (std::size_t i = 0; i < shown; ++i) {
    const ProcessorLine& p = now.processors[i];
    line += fit("P" + std::to_string(p.index), 4) + "[" + bar(r.load[i], bars) + "]" +
            fit(percent(r.load[i]), 5, true) + fit(" q " + short_count(p.queue), queue);
    if (i % a_line + 1 == a_line || i + 1 == shown) {
      page.add(line);
      line.clear();
    }
  }
  if (shown == now.processors.size()) return;
  double sum = 0;
  for (std::size_t i = shown; i < r.load.size(); ++i) sum += r.load[i];
  const auto rest = static_cast<double>(now.processors.size() - shown);
  page.add("and " + short_count(rest) + " more, " + percent(sum / rest) + " each");
}

/// First and one behind the last row of `all` in a window of `room` that holds the cursor.
std::pair<std::size_t, std::size_t> window(std::size_t all, std::size_t room, std::size_t cursor) {
  const std::size_t first = cursor >= room && room != 0 ? cursor - room + 1 : 0;
  return {first, std::min(all, first + room)};
}

void add_routes(Page& page, const Snapshot& now, const Rates& rates, const ViewState& state, std::size_t room) {
  static constexpr std::size_t kNumbers = 6 * 9;
  const std::size_t name = page.columns() > kNumbers + 8 ? page.columns() - kNumbers : 8;
  const auto cells = [&](std::string_view what, std::initializer_list<std::string> numbers) {
    std::string line = fit(what, name);
    for (const std::string& n : numbers) line += fit(n, 9, true);
    return line;
  };
  page.add(cells("ROUTE by " + std::string(to_string(state.routes)), {"req/s", "err/s", "p50", "p90", "p99", "flying"}),
           Style::head);
  const std::vector<const RouteRates*> rows = ordered_routes(rates, state.routes);
  const auto [first, last] = window(rows.size(), room, state.in_sites ? 0 : state.cursor);
  for (std::size_t i = first; i < last; ++i) {
    const RouteRates& r = *rows[i];
    page.add(cells(r.route->listener + " " + r.route->route,
                   {short_count(r.requests), short_count(r.errors), latency_of(r.p50, now), latency_of(r.p90, now),
                    latency_of(r.p99, now), short_count(r.route->in_flight)}),
             !state.in_sites && i == state.cursor ? Style::chosen : Style::plain);
  }
}

void add_sites(Page& page, const Snapshot& now, const ViewState& state, std::size_t room) {
  static constexpr std::size_t kNumbers = 4 * 9 + 17;
  const std::size_t name = page.columns() > kNumbers + 8 ? page.columns() - kNumbers : 8;
  const auto cells = [&](std::string_view what, std::initializer_list<std::string> numbers, std::string_view reason) {
    std::string line = fit(what, name);
    for (const std::string& n : numbers) line += fit(n, 9, true);
    return line + "  " + fit(reason, 15);
  };
  page.add(
      cells("FIBERS by " + std::string(to_string(state.sites)), {"fibers", "ready", "running", "oldest"}, "waits for"),
      Style::head);
  const std::vector<const SiteLine*> rows = ordered_sites(now, state.sites);
  const auto [first, last] = window(rows.size(), room, state.in_sites ? state.cursor : 0);
  for (std::size_t i = first; i < last; ++i) {
    const SiteLine& s = *rows[i];
    // The end of a path says more than its beginning.
    std::string_view place = s.site;
    if (display_width(place) + display_width(s.name) + 1 > name)
      if (const std::size_t slash = place.rfind('/'); slash != std::string_view::npos) place.remove_prefix(slash + 1);
    page.add(cells(std::string(place) + " " + s.name,
                   {short_count(s.count), short_count(s.runnable), short_count(s.running),
                    s.waiting > 0 ? short_seconds(s.oldest_seconds) : "-"},
                   s.reason),
             state.in_sites && i == state.cursor ? Style::chosen : Style::plain);
  }
}

void add_refusals(Page& page, const Snapshot& now, const Rates& r, std::size_t room) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < now.refusals.size(); ++i) order.push_back(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return r.refusals[a] > r.refusals[b]; });
  if (order.empty() || room == 0) return;
  page.add("REFUSED, SHED", Style::head);
  for (std::size_t i = 0; i < std::min(order.size(), room - 1); ++i) {
    const RefusalLine& line = now.refusals[order[i]];
    const std::size_t name = page.columns() > 40 ? page.columns() - 20 : page.columns() / 2;
    page.add(fit(line.what + " " + line.labels, name) + fit(per_second(r.refusals[order[i]]), 10, true) +
             fit(short_count(line.count), 10, true));
  }
}

}  // namespace

std::optional<Sort> parse_sort(std::string_view name) noexcept {
  for (const auto& [known, sort] : kSorts)
    if (known == name) return sort;
  return std::nullopt;
}

std::string_view to_string(Sort sort) noexcept {
  for (const auto& [name, known] : kSorts)
    if (known == sort) return name;
  return {};
}

std::string site_at(const Snapshot& now, const ViewState& state) {
  if (!state.in_sites) return {};
  const std::vector<const SiteLine*> rows = ordered_sites(now, state.sites);
  return state.cursor < rows.size() ? rows[state.cursor]->site : std::string();
}

std::vector<Line> compose(const Snapshot& now, const Rates& rates, ViewState& state, std::size_t columns,
                          std::size_t rows) {
  const std::size_t choices = state.in_sites ? now.sites.size() : rates.routes.size();
  state.cursor = std::min(state.cursor, choices == 0 ? 0 : choices - 1);
  Page page(columns);
  add_summary(page, now, rates);
  if (rows == 0) {
    add_load(page, now, rates, now.processors.size());
    add_routes(page, now, rates, {.routes = state.routes, .in_sites = true, .cursor = SIZE_MAX}, rates.routes.size());
    add_sites(page, now, {.sites = state.sites, .cursor = SIZE_MAX}, now.sites.size());
    add_refusals(page, now, rates, now.refusals.size() + 1);
    return std::move(page.lines());
  }
  add_load(page, now, rates, std::max<std::size_t>(rows / 6, 1));
  // A third of what is left for the routes, at least what they need, two for the sites; what is refused is told last.
  const std::size_t used = page.lines().size() + 3;  // two heads, and the last line
  const std::size_t room = rows > used ? rows - used : 0;
  const std::size_t refused = now.refusals.empty() ? 0 : std::min<std::size_t>(now.refusals.size() + 1, room / 5);
  const std::size_t routes = std::min(
      rates.routes.size(), std::max((room - refused) / 2, room - refused - std::min(room - refused, now.sites.size())));
  add_routes(page, now, rates, state, routes);
  add_sites(page, now, state, room - refused - routes);
  add_refusals(page, now, rates, refused);
  std::vector<Line>& lines = page.lines();
  if (lines.size() >= rows) lines.resize(rows - 1);
  while (lines.size() + 1 < rows) lines.push_back({Style::plain, fit("", columns)});
  if (!state.note.empty())
    page.add(state.note, Style::bold);
  else
    page.add(std::string(state.paused ? "PAUSED  " : "") +
                 "q quit  tab routes/fibers  up/down  enter stacks  sort: r l e n f a  p pause",
             Style::dim);
  return std::move(lines);
}

}  // namespace fiberd::daemon::top

#include "core/http/site/router.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/http/characters.hpp"
#include "core/http/host.hpp"

namespace fiberd::http {
namespace {

// FNV-1a: a byte at a time, so that the hash of every prefix falls out on the way.
constexpr std::uint64_t kSeed = 0xcbf29ce484222325U;
constexpr std::uint64_t step(std::uint64_t h, char c) noexcept {
  return (h ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
}
constexpr std::uint64_t hash_of(std::string_view s) noexcept {
  std::uint64_t h = kSeed;
  for (const char c : s) h = step(h, c);
  return h;
}
/// The low bits of FNV mix little of the last byte.
constexpr std::size_t slot_of(std::uint64_t hash, std::size_t mask) noexcept {
  return static_cast<std::size_t>(hash ^ (hash >> 32U)) & mask;
}

int compare_host(std::string_view lower, std::string_view host) noexcept {
  const std::size_t n = std::min(lower.size(), host.size());
  for (std::size_t i = 0; i < n; ++i) {
    const char c = to_lower(host[i]);
    if (lower[i] != c) return lower[i] < c ? -1 : 1;
  }
  return lower.size() == host.size() ? 0 : lower.size() < host.size() ? -1 : 1;
}

/// Whether a request's path can be this, or begin with it.
bool is_normal(std::string_view path) {
  const std::string closed = std::string(path) + "/";
  const bool empty_segment = path.find("//") != std::string_view::npos;
  return !empty_segment && closed.find("/./") == std::string::npos && closed.find("/../") == std::string::npos;
}

}  // namespace

std::uint32_t Router::Table::find(std::uint64_t hash, std::string_view path, bool prefix) const noexcept {
  const std::size_t mask = slots.size() - 1;
  for (std::size_t i = slot_of(hash, mask);; i = (i + 1) & mask) {
    const std::uint32_t e = slots[i];
    if (e == kNone) return kNone;
    if (entries[e].hash == hash && entries[e].prefix == prefix && entries[e].path == path) return e;
  }
}

/// The prefix that is `path` and a slash.
std::uint32_t Router::Table::find_below(std::uint64_t hash, std::string_view path) const noexcept {
  const std::size_t mask = slots.size() - 1;
  for (std::size_t i = slot_of(hash, mask);; i = (i + 1) & mask) {
    const std::uint32_t e = slots[i];
    if (e == kNone) return kNone;
    const Entry& entry = entries[e];
    if (entry.hash == hash && entry.prefix && entry.path.size() == path.size() + 1 && entry.path.starts_with(path))
      return e;
  }
}

std::uint32_t Router::Table::most_specific(std::string_view path, bool& add_slash) const noexcept {
  std::uint64_t h = kSeed;
  std::uint32_t best = kNone;
  for (std::size_t i = 0; i < path.size() && i < longest; ++i) {
    h = step(h, path[i]);
    if (path[i] == '/' && ((prefix_sizes >> ((i + 1) & 63U)) & 1U) != 0) {
      if (const std::uint32_t e = find(h, path.substr(0, i + 1), true); e != kNone) best = e;
    }
  }
  if (path.size() > longest) return best;
  if (const std::uint32_t exact = find(h, path, false); exact != kNone) return exact;
  if (path.size() == longest || path.ends_with('/')) return best;
  const std::uint32_t below = find_below(step(h, '/'), path);
  if (below == kNone) return best;
  add_slash = true;
  return below;
}

void Router::Table::index() {
  slots.assign(std::bit_ceil(entries.size() * 2 + 1), kNone);
  for (std::uint32_t e = 0; e < entries.size(); ++e) {
    std::size_t i = slot_of(entries[e].hash, slots.size() - 1);
    while (slots[i] != kNone) i = (i + 1) & (slots.size() - 1);
    slots[i] = e;
    longest = std::max(longest, entries[e].path.size());
    if (entries[e].prefix) prefix_sizes |= std::uint64_t{1} << (entries[e].path.size() & 63U);
  }
  for (Entry& entry : entries) {
    const std::string_view path = entry.path;
    // A prefix is covered by strictly shorter ones; an exact path also by a prefix as long as itself ("/a/" by "/a/*").
    for (std::size_t size = entry.prefix ? path.size() - 1 : path.size(); size > 0 && entry.shorter == kNone; --size) {
      if (path[size - 1] == '/') entry.shorter = find(hash_of(path.substr(0, size)), path.substr(0, size), true);
    }
  }
}

Router::Table& Router::table_for(std::string_view host) {
  std::string lower(host_name(host));
  std::transform(lower.begin(), lower.end(), lower.begin(), to_lower);
  if (lower.starts_with('*')) {
    lower.erase(0, 1);
    longest_wildcard_ = std::max(longest_wildcard_, lower.size());
  }
  const auto it = std::lower_bound(tables_.begin(), tables_.end(), lower,
                                   [](const Table& t, const std::string& h) { return t.host < h; });
  if (it != tables_.end() && it->host == lower) return *it;
  Table table;
  table.host = std::move(lower);
  return *tables_.insert(it, std::move(table));
}

const Router::Table* Router::find_host(std::string_view host) const noexcept {
  const auto it = std::lower_bound(tables_.begin() + 1, tables_.end(), host,
                                   [](const Table& t, std::string_view h) { return compare_host(t.host, h) < 0; });
  return it != tables_.end() && compare_host(it->host, host) == 0 ? &*it : nullptr;
}

Result<Router> Router::make(const std::vector<RouteSpec>& routes) {
  if (routes.size() > 65535) return fail(std::errc::value_too_large);
  Router router;
  router.tables_.emplace_back();  // any host
  for (std::size_t r = 0; r < routes.size(); ++r) {
    const RouteSpec& spec = routes[r];
    std::string_view path = spec.path;
    const bool prefix = path.ends_with("/*");
    if (prefix) path.remove_suffix(1);
    if (path.empty() || path.front() != '/' || path.find('*') != std::string_view::npos ||
        path.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos || !is_normal(path) ||
        spec.methods.empty()) {
      return fail(std::errc::invalid_argument);
    }
    const std::string_view labels = host_name(spec.host);
    const bool below = labels.starts_with("*.") && labels.size() > 2;
    if ((labels.empty() && !spec.host.empty()) || labels.starts_with('.') ||
        labels.find('*', below ? 1 : 0) != std::string_view::npos)
      return fail(std::errc::invalid_argument);
    MethodSet methods = spec.methods;
    if (methods.has(Method::get)) methods = methods | MethodSet::of(Method::head);

    Table& table = router.table_for(spec.host);
    const std::uint64_t hash = hash_of(path);
    auto entry = std::find_if(table.entries.begin(), table.entries.end(),
                              [&](const Entry& e) { return e.hash == hash && e.prefix == prefix && e.path == path; });
    if (entry == table.entries.end()) {
      table.entries.push_back({hash, std::string(path), prefix, kNone, {}});
      entry = table.entries.end() - 1;
    }
    for (const Target& other : entry->targets) {
      if ((other.methods.bits() & methods.bits()) != 0) return fail(std::errc::file_exists);
    }
    entry->targets.push_back({methods, static_cast<std::uint32_t>(r)});
    router.all_ = router.all_ | methods;
  }
  for (Table& table : router.tables_) table.index();
  return router;
}

bool Router::try_table(const Table& table, Method method, std::string_view path, RouteMatch& match) noexcept {
  bool add_slash = false;
  for (std::uint32_t e = table.most_specific(path, add_slash); e != kNone; e = table.entries[e].shorter) {
    const Entry& entry = table.entries[e];
    const auto is_of = [&](const Target& target) {
      match.of_route = true;
      match.index = target.route;
      match.rest = entry.prefix && !add_slash ? entry.path.size() : path.size();
      match.exact = !entry.prefix;
    };
    for (const Target& target : entry.targets) {
      if (target.methods.has(method)) {
        match.kind = add_slash ? RouteMatch::Kind::add_slash : RouteMatch::Kind::route;
        match.allow = MethodSet();
        is_of(target);
        return true;
      }
      match.allow = match.allow | target.methods;
      if (!match.of_route) is_of(target);
    }
    add_slash = false;  // what is left covers the path itself
  }
  return false;
}

RouteMatch Router::match(Method method, std::string_view host, std::string_view path) const noexcept {
  RouteMatch match;
  if (method == Method::unknown) {
    match.kind = RouteMatch::Kind::not_implemented;
    return match;
  }
  if (method == Method::connect) {  // its target has no path; no route of ours is a tunnel
    match.kind = RouteMatch::Kind::method_not_allowed;
    match.allow = all_ | MethodSet::of(Method::options);
    return match;
  }
  if (path == "*") {
    match.kind = RouteMatch::Kind::options;
    match.allow = all_ | MethodSet::of(Method::options);
    return match;
  }
  if (tables_.size() > 1) {
    const std::string_view name = host_name(host);
    // A name that begins with a dot would be found as the wildcard itself.
    const Table* const own = name.starts_with('.') ? nullptr : find_host(name);
    if (own != nullptr && try_table(*own, method, path, match)) return match;
    // Nothing longer than the longest wildcard is looked for, so that a name of dots costs no more than a name.
    const std::size_t from = name.size() > longest_wildcard_ ? name.size() - longest_wildcard_ : 0;
    for (std::size_t dot = name.find('.', std::max<std::size_t>(from, 1));
         longest_wildcard_ != 0 && dot != std::string_view::npos; dot = name.find('.', dot + 1)) {
      const Table* const wildcard = find_host(name.substr(dot));
      if (wildcard != nullptr && try_table(*wildcard, method, path, match)) return match;
    }
  }
  if (try_table(tables_.front(), method, path, match)) return match;
  if (match.allow.empty()) return match;  // 404
  match.allow = match.allow | MethodSet::of(Method::options);
  match.kind = method == Method::options ? RouteMatch::Kind::options : RouteMatch::Kind::method_not_allowed;
  return match;
}

AllowValue::AllowValue(MethodSet methods) noexcept {
  for (std::size_t m = 1; m < kMethods; ++m) {
    const auto method = static_cast<Method>(m);
    if (!methods.has(method)) continue;
    const std::string_view token = method_token(method);
    if (size_ != 0) {
      std::memcpy(text_ + size_, ", ", 2);
      size_ += 2;
    }
    std::memcpy(text_ + size_, token.data(), token.size());
    size_ += token.size();
  }
}

}  // namespace fiberd::http

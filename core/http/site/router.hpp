#pragma once
// Router: (host, path, method) to the index of a route.
//
// Candidates for a request, most specific first: routes of its host, then those of the wildcards above it from the
// longest, then routes of any host; in each, the exact path, then prefixes from the longest. The first candidate that
// serves the method wins, so an exact route for GET and a prefix for POST work side by side. When candidates exist but
// none serves the method, the answer is 405 with the union of their methods; HEAD goes with GET, and OPTIONS, which the
// router can answer itself, with everything.
//
// "/a" with a prefix "/a/*" and no exact route "/a" (of that host) is redirected to "/a/", as Go's ServeMux and nginx
// do it, whatever shorter prefix would cover it: else "/*" would serve "/a", and with it whatever is called the same as
// what the rule for "/a/*" is about.
//
// One pass over the path computes a rolling hash; at each '/' it is looked up among the prefixes, at the end among the
// exact paths. Each entry links to the next shorter prefix that covers it, so falling back costs no search. Rejected: a
// trie of segments, which allocates per node and chases a pointer per segment.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "core/http/message.hpp"

namespace fiberd::http {

struct RouteSpec {
  std::string path;                      ///< "/exact", or a prefix: "/below/*" (all that begins with "/below/")
  std::string host{};                    ///< empty: any; "*.example.org": all below it; compared by host_name, any case
  MethodSet methods = MethodSet::all();  ///< GET brings HEAD
};

struct RouteMatch {
  enum class Kind : std::uint8_t {
    route,               ///< `index` serves it
    add_slash,           ///< "/a" where "/a/*" is: to be redirected to "/a/"
    not_found,           ///< 404
    method_not_allowed,  ///< 405 with Allow: allow_value(allow)
    options,             ///< OPTIONS that no route serves itself: 204 with Allow
    not_implemented      ///< 501: a method this server does not know
  };
  Kind kind = Kind::not_found;
  bool of_route =
      false;  ///< `index`, `rest` and `exact` are a route's: without Kind::route that of the first candidate
  std::size_t index = 0;  ///< into the list given to make()
  std::size_t rest = 0;   ///< for a prefix: where the part of the path below it begins, e.g. 7 for "/files/*"
  bool exact = false;     ///< the route is no prefix
  MethodSet allow{};
};

/// Immutable after make(): any number of threads may match at once.
class Router {
 public:
  /// Errors: invalid_argument (a path without leading '/', with a dot segment or an empty one, which no path in normal
  /// form has, a '*' elsewhere than in a final "/*", CR, LF or NUL; a host without a name, that begins with a dot, or
  /// with a '*' elsewhere than in a leading "*."), file_exists (the same path, host and a shared method twice),
  /// value_too_large (more than 65,535 routes).
  [[nodiscard]] static Result<Router> make(const std::vector<RouteSpec>& routes);

  /// `path` is normalised (path.hpp); "*" matches OPTIONS only. `host` may carry a port. O(size of path), no
  /// allocation.
  [[nodiscard]] RouteMatch match(Method method, std::string_view host, std::string_view path) const noexcept;

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  struct Target {
    MethodSet methods;
    std::uint32_t route;
  };
  struct Entry {
    std::uint64_t hash;
    std::string path;  // of a prefix: with its final '/', without '*'
    bool prefix;
    std::uint32_t shorter = kNone;  // the next shorter prefix that covers this entry
    std::vector<Target> targets;
  };
  struct Table {
    std::string host;  // lower case; empty: any; with a leading dot: all below it
    std::vector<Entry> entries;
    std::vector<std::uint32_t> slots;  // open addressing, size a power of two
    std::size_t longest = 0;
    std::uint64_t prefix_sizes = 0;  // bit n: there is a prefix of n bytes, modulo 64
    [[nodiscard]] std::uint32_t find(std::uint64_t hash, std::string_view path, bool prefix) const noexcept;
    [[nodiscard]] std::uint32_t find_below(std::uint64_t hash, std::string_view path) const noexcept;
    /// `add_slash`: it is the prefix whose name without its slash `path` is.
    [[nodiscard]] std::uint32_t most_specific(std::string_view path, bool& add_slash) const noexcept;
    void index();
  };
  [[nodiscard]] Table& table_for(std::string_view host);
  [[nodiscard]] const Table* find_host(std::string_view host) const noexcept;
  static bool try_table(const Table& table, Method method, std::string_view path, RouteMatch& match) noexcept;

  std::vector<Table> tables_;  // sorted by host; the one for any host is first
  MethodSet all_;
  std::size_t longest_wildcard_ = 0;  // bytes, with its dot; 0: there is none
};

/// "GET, HEAD, OPTIONS" into a fixed buffer.
class AllowValue {
 public:
  explicit AllowValue(MethodSet methods) noexcept;
  [[nodiscard]] std::string_view text() const noexcept { return {text_, size_}; }

 private:
  char text_[80];
  std::size_t size_ = 0;
};

}  // namespace fiberd::http

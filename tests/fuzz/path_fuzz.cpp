// Paths and authorities: what comes out of normalise_path names nothing above the root, holds no NUL, is as long as
// what went in at most, and is its own normal form. And what the router matched is what the file handler opens:
// whatever the spelling, the kernel's walk along the path ends below the route that was matched.
#include <algorithm>
#include <string>
#include <vector>

#include "core/http/host.hpp"
#include "core/http/path.hpp"
#include "core/http/site/router.hpp"
#include "tests/fuzz/check.hpp"

using namespace fiberd;

namespace {

/// As the kernel walks: empty segments and dots lead nowhere, two dots up, but not above the root.
std::vector<std::string> walk(std::string_view path) {
  std::vector<std::string> at;
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    const std::string_view name = path.substr(0, slash);
    if (name == "..") {
      if (!at.empty()) at.pop_back();
    } else if (!name.empty() && name != ".") {
      at.emplace_back(name);
    }
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return at;
}

int digit(char c) {
  const std::string_view digits = "0123456789abcdef";
  const std::size_t at = digits.find(c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c);
  return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

/// What a request's path means, found another way than by the code under test. It has no bad escapes.
std::string decode(std::string_view raw) {
  std::string text;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    const bool escape = raw[i] == '%';
    text += escape ? static_cast<char>(digit(raw[i + 1]) * 16 + digit(raw[i + 2])) : raw[i];
    if (escape) i += 2;
  }
  return text;
}

void check_route(std::string_view path, const std::vector<std::string>& opened) {
  static constexpr std::size_t kBelow = 0;
  static constexpr std::size_t kFile = 1;
  static constexpr std::size_t kSite = 2;
  static constexpr std::size_t kDeeper = 3;
  static const http::Router router =
      *http::Router::make({{.path = "/p/*"}, {.path = "/s"}, {.path = "/*"}, {.path = "/p/q/*"}});
  const http::RouteMatch match = router.match(http::Method::get, "h", path);
  FUZZ_CHECK(match.kind == http::RouteMatch::Kind::route || match.kind == http::RouteMatch::Kind::add_slash);
  const bool in_p = !opened.empty() && opened[0] == "p";
  const bool in_q = in_p && opened.size() > 1 && opened[1] == "q";
  if (match.kind == http::RouteMatch::Kind::add_slash) {
    FUZZ_CHECK(in_p && opened.size() == (in_q ? 2U : 1U) && !path.ends_with('/'));
    return;
  }
  // A file with a slash behind its name is none, so that one name of it is left.
  const bool is_file = opened.size() == 1 && opened[0] == "s" && !path.ends_with('/');
  FUZZ_CHECK(match.index == (in_q ? kDeeper : in_p ? kBelow : is_file ? kFile : kSite));
  FUZZ_CHECK(match.exact == is_file);
  // What is below the route's root is the rest of the walk.
  const std::string_view rest = path.substr(match.exact ? 1 : match.rest);
  const std::vector<std::string> inside = walk(rest);
  FUZZ_CHECK(!rest.starts_with('/') && inside.size() <= opened.size());
  FUZZ_CHECK(std::equal(inside.rbegin(), inside.rend(), opened.rbegin()));
  FUZZ_CHECK(inside.size() + (in_q ? 2U : in_p ? 1U : 0U) == opened.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view raw = fuzz::text(data, size);
  std::vector<char> scratch(size);
  const http::NormalisedPath path = http::normalise_path(raw, scratch);
  if (path.reason == http::Reject::none) {
    FUZZ_CHECK(path.path.starts_with('/') && path.path.size() <= raw.size());
    FUZZ_CHECK(path.path.find('\0') == std::string_view::npos || raw.find('\0') != std::string_view::npos);
    const std::string slashed = std::string(path.path) + "/";
    FUZZ_CHECK(slashed.find("/../") == std::string::npos && slashed.find("/./") == std::string::npos);
    FUZZ_CHECK(path.path.find("//") == std::string_view::npos);
    const std::vector<std::string> meant = walk(decode(raw));
    FUZZ_CHECK(walk(path.path) == meant);
    if (path.path.find('\0') == std::string_view::npos) check_route(path.path, meant);
    if (path.path.find('%') == std::string_view::npos) {
      std::vector<char> again(size);
      const http::NormalisedPath twice = http::normalise_path(path.path, again);
      FUZZ_CHECK(twice.reason == http::Reject::none && twice.path == path.path);
    }
  } else {
    FUZZ_CHECK(http::status_of(path.reason) >= 400);
  }
  if (http::is_valid_authority(raw)) {
    const std::string_view host = host_without_port(raw);
    FUZZ_CHECK(!host.empty() && raw.starts_with(host));
    FUZZ_CHECK(raw.size() == host.size() || raw[host.size()] == ':');
    FUZZ_CHECK(raw.find_first_of(" ,/@\r\n") == std::string_view::npos);
  }
  return 0;
}

// Paths and authorities: what comes out of normalise_path names nothing above the root, holds no NUL, is as long as
// what went in at most, and is its own normal form.
#include <string>
#include <vector>

#include "core/http/host.hpp"
#include "core/http/path.hpp"
#include "tests/fuzz/check.hpp"

using namespace fiberd;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view raw = fuzz::text(data, size);
  std::vector<char> scratch(size);
  const http::NormalisedPath path = http::normalise_path(raw, scratch);
  if (path.reason == http::Reject::none) {
    FUZZ_CHECK(path.path.starts_with('/') && path.path.size() <= raw.size());
    FUZZ_CHECK(path.path.find('\0') == std::string_view::npos || raw.find('\0') != std::string_view::npos);
    const std::string slashed = std::string(path.path) + "/";
    FUZZ_CHECK(slashed.find("/../") == std::string::npos && slashed.find("/./") == std::string::npos);
    if (path.path.find('%') == std::string_view::npos) {
      std::vector<char> again(size);
      const http::NormalisedPath twice = http::normalise_path(path.path, again);
      FUZZ_CHECK(twice.reason == http::Reject::none && twice.path == path.path);
    }
  } else {
    FUZZ_CHECK(http::status_of(path.reason) >= 400);
  }
  if (http::is_valid_authority(raw)) {
    const std::string_view host = http::host_without_port(raw);
    FUZZ_CHECK(!host.empty() && raw.starts_with(host));
    FUZZ_CHECK(raw.size() == host.size() || raw[host.size()] == ':');
    FUZZ_CHECK(raw.find_first_of(" ,/@\r\n") == std::string_view::npos);
  }
  return 0;
}

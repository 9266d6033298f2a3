#pragma once
// PprofProfile: samples with stacks as pprof's protobuf (github.com/google/pprof, proto/profile.proto), compressed:
// what `go tool pprof` and pull profilers read. Functions are named here, by what the dynamic linker knows; the
// mappings bring file names and build ids, so that who has the debug information finds lines and inlined calls.
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/result.hpp"

namespace fiberd::observe {

class PprofProfile {
 public:
  /// What a sample's values are: type and unit, as pprof names them ("goroutine", "count"). At least one.
  using ValueTypes = std::vector<std::pair<std::string, std::string>>;
  explicit PprofProfile(ValueTypes types) : types_(std::move(types)) {}

  /// `frames`: return addresses, innermost first. As many values as there are types. Labels are shown as tags. Throws
  /// std::bad_alloc.
  void add(std::span<const std::uintptr_t> frames, std::span<const std::int64_t> values,
           std::span<const std::pair<std::string_view, std::string_view>> labels);

  /// The whole file, gzip around it. `time`: Unix time in ns of the first sample; `duration` in ns, 0 for a moment's
  /// look. Blocks (symbols are looked up, /proc is read). Errors: zlib's lack of memory. Throws std::bad_alloc.
  [[nodiscard]] Result<std::string> encode(std::int64_t time, std::int64_t duration);

 private:
  std::uint64_t location_of(std::uintptr_t return_address);
  std::int64_t text(std::string_view s);

  ValueTypes types_;
  std::string encoded_;                                // samples
  std::map<std::uintptr_t, std::uint64_t> locations_;  // the address of the call: its number, from 1
  std::map<std::string, std::int64_t, std::less<>> texts_{{"", 0}};
};

}  // namespace fiberd::observe

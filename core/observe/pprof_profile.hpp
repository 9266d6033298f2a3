#pragma once
// PprofProfile: samples with stacks, as pprof's protobuf (github.com/google/pprof, proto/profile.proto), compressed:
// what `go tool pprof` and pull profilers read; as text (Go's debug=1); and for who draws them (flame_graph.hpp).
// Functions are named here (symbol_names.hpp); the mappings bring file names and build ids, so that who has the debug
// information finds lines and inlined calls.
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/result.hpp"

namespace fiberd::observe {

class SymbolNames;

/// What stands for a stack that is not known: of a fiber that is runnable, of one that was gone when it was looked at.
/// Readers refuse a whole profile for one sample without a stack.
void stack_not_known() noexcept;

/// By one thread at a time. What allocates throws std::bad_alloc. It grows with the stacks that differ: who adds bounds
/// them.
class PprofProfile {
 public:
  /// What a sample's values are: type and unit, as pprof names them ("goroutine", "count"). At least one.
  using ValueTypes = std::vector<std::pair<std::string, std::string>>;
  using Labels = std::span<const std::pair<std::string_view, std::string_view>>;
  explicit PprofProfile(ValueTypes types) : types_(std::move(types)), period_type_(types_.front()) {}

  /// `frames`: return addresses, innermost first (of an innermost one that is an instruction's own address: one behind
  /// it). As many values as there are types; they are added to those of the sample with equal frames and labels. Labels
  /// are shown as tags. Without frames it stands at stack_not_known.
  void add(std::span<const std::uintptr_t> frames, std::span<const std::int64_t> values, Labels labels);
  /// What lies between two of the samples that were taken; if it is not said: 1 of the first type.
  void set_period(std::string type, std::string unit, std::int64_t period);
  /// What is shown if nothing is asked for: a type's name. Else the last type.
  void set_default_type(std::string type) { default_type_ = std::move(type); }
  /// For people: `go tool pprof -comments`.
  void add_comment(std::string comment) { comments_.push_back(std::move(comment)); }
  /// What has come since `earlier` was taken, which has the same types: samples that have not changed go.
  void subtract(const PprofProfile& earlier);

  [[nodiscard]] const ValueTypes& types() const noexcept { return types_; }
  /// Index of the type of this name, "" being the default one; types().size() if there is none.
  [[nodiscard]] std::size_t type_index(std::string_view type) const noexcept;
  [[nodiscard]] std::size_t samples() const noexcept { return samples_.size(); }
  [[nodiscard]] const std::vector<std::string>& comments() const noexcept { return comments_; }
  /// Each sample once, in no order; its labels are left out.
  void for_each(const std::function<void(std::span<const std::uintptr_t> frames, std::span<const std::int64_t> values)>&
                    visit) const;

  /// The whole file, gzip around it. `time`: Unix time in ns of the first sample; `duration` in ns, 0 for a moment's
  /// look. Blocks (symbols are looked up, /proc is read). Errors: zlib's lack of memory.
  [[nodiscard]] Result<std::string> encode(std::int64_t time, std::int64_t duration) const;
  /// For people, and for `go tool pprof` if there is one value (Go's debug=1): largest first, at most `most`. Blocks.
  [[nodiscard]] std::string text(std::string_view name, std::size_t most = 10'000) const;

 private:
  using Key = std::pair<std::vector<std::uintptr_t>, std::vector<std::pair<std::string, std::string>>>;
  ValueTypes types_;
  std::pair<std::string, std::string> period_type_;
  std::int64_t period_ = 1;
  std::string default_type_;
  std::vector<std::string> comments_;
  std::map<Key, std::vector<std::int64_t>> samples_;
};

}  // namespace fiberd::observe

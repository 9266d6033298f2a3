#pragma once
// The dump of all fibers as text: what /debug/pprof/goroutine?debug=1 and debug=2 show, and SIGQUIT.
#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.hpp"
#include "core/runtime/fiber_list.hpp"

namespace fiberd::observe {

class PprofProfile;

/// Which fibers. Empty members: all.
struct FiberFilter {
  std::string name{};                   ///< a part of the fiber's name
  std::string site{};                   ///< a part of "file:line" where it was spawned
  std::string state{};                  ///< runnable, running, waiting, or a wait reason (channel_receive)
  std::chrono::nanoseconds min_age{0};  ///< has waited for so long at least; then none that runs

  [[nodiscard]] bool matches(const runtime::FiberView& fiber, std::int64_t now) const;
};
/// What is no state and no wait reason: a sentence that names all of them. nullopt: it is one.
[[nodiscard]] std::optional<std::string> why_no_state(std::string_view state);

/// Takes the next piece of a text; may park. An error ends the dump.
using TextSink = std::function<Result<void>(std::string_view piece)>;

/// Each fiber with its state, age, what it waits for and its stack: some hundred bytes to 8 KiB each, in pieces of a
/// fiber. `most`: of so many; the rest is counted in a last line. On a fiber or a thread of its own (symbols are read:
/// for 100,000 fibers up to a second of CPU in all). What is told of each was true when it was looked at. Errors: the
/// sink's. Throws std::bad_alloc.
Result<void> dump_fibers(const FiberFilter& filter, const TextSink& sink, std::size_t most = SIZE_MAX);

/// Fibers with the same stack, state and spawn site together, most first, as Go's debug=1: "go tool pprof" reads it.
/// At most 10,000 different ones are told apart. As dump_fibers otherwise.
Result<void> group_fibers(const FiberFilter& filter, const TextSink& sink);

/// The same as pprof's protobuf (pprof_profile.hpp), with the labels state, name and site. Blocks at its end. Errors:
/// as PprofProfile::encode.
[[nodiscard]] Result<std::string> profile_fibers(const FiberFilter& filter);
/// The same, not encoded yet: for who draws it. Does not block.
[[nodiscard]] PprofProfile collect_fibers(const FiberFilter& filter);

}  // namespace fiberd::observe

#pragma once
// The contexts that are alive, and those that ended without having been done: who forgets to cancel is found by the
// place that made the context.
//
// Alive are those that can end by themselves (with_cancel, with_deadline, with_timeout) and to which somebody still
// holds a handle. They hang in intrusive lists, one per metric shard (modulo kShards): a Processor takes a lock that
// nobody else wants and links one node, once at birth and once at death. A look at them walks with a cursor that hangs
// in the list itself, so that a million contexts never keep a Processor waiting for more than a few hundred nodes.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/intrusive_list.hpp"
#include "core/base/source_location.hpp"
#include "core/context/site_table.hpp"

namespace fiberd::context {

struct LiveContext {
  SourceLocation where;  ///< that made it
  std::int64_t age_ns = 0;
  Deadline deadline;           ///< its own or an ancestor's
  std::uint32_t children = 0;  ///< that it will cancel
  bool done = false;           ///< or its deadline has passed
};

/// Calls `visit(argument, context)` for each context alive. Not a snapshot: those made and ended meanwhile may be seen
/// or not. `visit` must not make or drop contexts, wait, or take long: a list's lock is held. Thread-safe.
void for_each_live(void (*visit)(void* argument, const LiveContext& context), void* argument);
/// At most `most` of them. Throws std::bad_alloc.
[[nodiscard]] std::vector<LiveContext> live_contexts(std::size_t most = SIZE_MAX);
[[nodiscard]] std::uint64_t live_count() noexcept;

/// Contexts that ended without ever having been done, since the process began.
[[nodiscard]] std::uint64_t never_canceled_count() noexcept;
/// The same by the place that made them, most first; of the first kMostSites places. Where there were more, the last
/// entry has an empty file name and counts the rest.
[[nodiscard]] std::vector<ContextSite> never_canceled_sites();
inline constexpr std::size_t kMostSites = 256;

namespace detail {

/// What hangs in the lists: a context, or the cursor of somebody who walks.
struct LiveHook : ListHook {
  SourceLocation where;
  std::int64_t born = 0;  ///< monotonic ns, coarse
  std::uint8_t shard = 0;
  bool cursor = false;
};

void enter_live(LiveHook& hook) noexcept;
void leave_live(LiveHook& hook) noexcept;
void count_never_canceled(const SourceLocation& where) noexcept;

}  // namespace detail

}  // namespace fiberd::context

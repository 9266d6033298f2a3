#pragma once
// Workspace: what a connection needs only while it is active: parser, input and output buffer. An idle connection has
// none. They are kept in a LIFO per Processor, so a few hot ones serve thousands of connections in turn; at 5,000
// active connections this is the largest single gain over a buffer per connection.
//
// What a Processor has beyond 32 goes to a list for all, and of what that list never went below for a second the pages
// go back to the kernel. Workspaces are whole pages, so that they really do: a thousand slow clients at once would
// leave holes in malloc's arenas that are paid for ever after. Addresses are mapped 32 workspaces at a time and kept: a
// mapping for each would have a crowd's threads queue for the process's one lock on its mappings. Rejected: dropping
// the pages at once (a server with a thousand busy connections would fault all the time).
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/lock.hpp"
#include "core/http/access_record.hpp"
#include "core/http/date.hpp"
#include "core/http/h1/parser.hpp"
#include "core/http/h1/rate_guard.hpp"
#include "core/http/site/site.hpp"
#include "core/metric/status_counters.hpp"
#include "core/net/endpoint.hpp"
#include "core/runtime/timer.hpp"
#include "core/sync/atomic_snapshot.hpp"

namespace fiberd::http {

class ClientContext;

/// What the log is told of an answer that waits, and that goes with its request.
struct KeptForLog {
  net::Endpoint peer;
  std::string request_id;
  std::string user;
};

/// An answer, or its end, that waits in the output buffer: what was sent of it is known when that has left.
struct Unsent {
  const AccessLogHook* log;  ///< nullptr: not logged
  metric::StatusCounters* counters;
  // Where it and its body begin in all that the connection sends.
  std::uint64_t answer_at;
  std::uint64_t body_at;
  std::uint64_t end_at;
  std::uint64_t received;  ///< bytes of the request, its head included
  Method method;
  bool traced;                ///< `exemplar` is set
  metric::Exemplar exemplar;  ///< of the trace that is kept
  KeptForLog* kept;           ///< owned; nullptr: nothing goes
  AccessRecord record;        ///< as if all of it had been sent; its texts are in the input buffer
};

struct Workspace {
  static constexpr std::size_t kHeldFields = std::size_t{2} * 1024;
  static constexpr std::size_t kHeldBody = std::size_t{14} * 1024;
  static constexpr std::uint32_t kMostUnsent = 128;  ///< as many as the output buffer holds of the shortest
  explicit Workspace(const HeadLimits& limits) noexcept : parser(limits) {}

  Workspace* next = nullptr;
  RequestParser parser;    ///< whoever takes the workspace resets it
  std::int64_t clock = 0;  ///< when the clock was last read with this workspace in hand
  RateGuard writes;        ///< of the answer that is being sent
  std::size_t in_capacity = 0;
  std::size_t out_capacity = 0;
  char* in = nullptr;    ///< the head, then what is being read of the body
  char* out = nullptr;   ///< answers that wait for their send
  char* path = nullptr;  ///< the normalised path, when it differs from the target
  char* held = nullptr;  ///< an answer that is begun and not committed: its fields, then its body
  /// What its user holds: the Site by which it serves.
  const Site* site = nullptr;
  std::uint32_t site_version = 0;
  sync::AtomicSnapshot<std::shared_ptr<const Site>>::Guard site_guard;
  Unsent* unsent = nullptr;
  std::uint32_t unsent_count = 0;
  // The connection's while it is active. The message being read: in[begin, end).
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  std::uint32_t out_size = 0;  ///< out[0, out_size) waits
  std::uint32_t linger_bytes = 0;
  bool output_lost = false;         ///< a send failed: nothing may be sent any more
  std::uint64_t sent = 0;           ///< bytes that the kernel has taken, of this connection and of those before it
  std::int64_t head_since = 0;      ///< monotonic ns: since when a head is waited for; 0 before its first byte
  ClientContext* client = nullptr;  ///< once a handler has asked; owned by the connection
};

/// Workspaces and the Date text, per Processor (by metric shard: owned by one thread at a time). Threads without a
/// Processor share shard 0 under a lock.
class WorkspacePool : private runtime::Timer {
 public:
  /// `limits` of the listener; the input buffer holds the largest head and 16 KiB of body behind it.
  explicit WorkspacePool(const HeadLimits& limits);
  ~WorkspacePool();
  WorkspacePool(const WorkspacePool&) = delete;
  WorkspacePool& operator=(const WorkspacePool&) = delete;

  /// nullptr when memory is out. Must be given back with release(), on any thread of the runtime.
  [[nodiscard]] Workspace* acquire() noexcept;
  void release(Workspace* workspace) noexcept;
  /// Gives up the timer that trims; from then on nothing is trimmed. Before the runtime goes, on a fiber or after it.
  void stop() noexcept;
  /// How many have memory: in use, or kept for use.
  [[nodiscard]] std::size_t warm() const noexcept { return warm_.load(std::memory_order_relaxed); }

  /// The Date field's text of this second, on a fiber. The view holds until the fiber next parks.
  [[nodiscard]] std::string_view date() noexcept;
  [[nodiscard]] const HeadLimits& limits() const noexcept { return limits_; }

 private:
  struct Shard;
  [[nodiscard]] Shard* shard() noexcept;
  [[nodiscard]] Shard* make_shard(std::uint32_t index) noexcept;
  [[nodiscard]] Workspace* make() noexcept;
  [[nodiscard]] bool map_slab();
  void cool(Workspace* list) noexcept;
  void trim() noexcept;

  HeadLimits limits_;
  std::size_t size_;  // of a workspace, in whole pages
  std::unique_ptr<std::atomic<Shard*>[]> shards_;
  std::atomic<std::size_t> warm_{0};
  Lock cold_lock_;
  std::vector<void*> slabs_;
  std::vector<void*> cold_;  // places without pages; there is always room for all of them
  Lock shared_lock_;
  Workspace* shared_ = nullptr;
  std::size_t shared_count_ = 0;
  std::size_t least_ = 0;  // of shared_count_, since the last trim
  bool trimming_ = false;  // the timer is armed
  bool stopped_ = false;
  DateCache shared_date_;
};

}  // namespace fiberd::http

#pragma once
// OpenFiles: what the file handlers of a process keep for the next request, bounded together. A route of its own bound
// would let as many routes as there are take all descriptors; one bound for all lets the busy ones have most of it.
//
// Kept are files (each form of one counts: a compressed sibling is another), small ones as their bytes in memory,
// others by an open descriptor. What has been unused longest goes first: when there are too many, when their bytes or
// their descriptors are too many, when descriptors run short elsewhere (reclaim), and by itself when it has not been
// asked for for `age`: so a file that was deleted holds its disk space no longer than that. Who is sending a file
// meanwhile keeps it until it is sent.
//
// Descriptors are further bounded by a quarter of RLIMIT_NOFILE as it is when one is added: clients need the others.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/base/intrusive_list.hpp"
#include "core/base/lock.hpp"
#include "core/metric/metrics.hpp"

namespace fiberd::http {

struct OpenFilesOptions {
  std::size_t files = 1024;                                 ///< most that are kept; 0: none
  std::uint64_t memory = std::uint64_t{32} << 20U;          ///< bytes of small ones, most; 0: none is kept in memory
  std::chrono::nanoseconds age = std::chrono::seconds(10);  ///< unused for so long: let go
};

/// Each may be null.
struct OpenFilesMetrics {
  metric::Gauge* files = nullptr;
  metric::Gauge* descriptors = nullptr;  ///< of these
  metric::Gauge* memory = nullptr;       ///< bytes
  metric::Counter* hits = nullptr;
  metric::Counter* misses = nullptr;   ///< was not kept: opened
  metric::Counter* renewed = nullptr;  ///< was kept, and had changed
  metric::Counter* evicted_room = nullptr;
  metric::Counter* evicted_age = nullptr;
  metric::Counter* evicted_shortage = nullptr;
};

/// One path of one owner, with all its forms. Derived from by who owns it.
struct KeptFile : ListHook {
  KeptFile(const void* o, std::string p) : owner(o), path(std::move(p)) {}
  KeptFile(const KeptFile&) = delete;
  KeptFile& operator=(const KeptFile&) = delete;
  virtual ~KeptFile() = default;
  const void* const owner;
  const std::string path;
  std::uint32_t files = 1;  // these three do not change once it is kept
  std::uint32_t descriptors = 0;
  std::uint64_t memory = 0;  ///< bytes
  std::int64_t used = 0;     ///< under OpenFiles' lock: when it was last found (coarse clock)
};

/// Thread-safe; never parks. Must outlive its owners.
class OpenFiles {
 public:
  explicit OpenFiles(OpenFilesOptions options = {}, OpenFilesMetrics metrics = {}) noexcept
      : options_(options), metrics_(metrics) {}
  OpenFiles(const OpenFiles&) = delete;
  OpenFiles& operator=(const OpenFiles&) = delete;

  [[nodiscard]] const OpenFilesOptions& options() const noexcept { return options_; }
  [[nodiscard]] const OpenFilesMetrics& metrics() const noexcept { return metrics_; }

  /// Null when it is not kept. O(path), no allocation.
  [[nodiscard]] std::shared_ptr<KeptFile> find(const void* owner, std::string_view path, std::int64_t now) noexcept;
  /// Keeps it, in place of one of the same name, and lets others go for it; not at all when it is too much alone.
  /// Throws std::bad_alloc.
  void insert(std::shared_ptr<KeptFile> file, std::int64_t now);
  void erase(const void* owner, std::string_view path) noexcept;
  /// Lets go of all that is `owner`'s.
  void forget(const void* owner) noexcept;

  /// Lets go of what has been unused for options().age at `now` (coarse clock). To be called now and then: insert()
  /// does, the daemon twice a second.
  void sweep(std::int64_t now) noexcept;
  /// Lets go of those that hold descriptors, the longest unused first, until `wanted` descriptors have been closed;
  /// returns how many were. Closing what was deleted may take the file system a moment.
  std::size_t reclaim(std::size_t wanted) noexcept;
  /// Lets go of everything: memory is short.
  void clear() noexcept;
  /// Beside options().memory: bytes that may be kept until the next call, UINT64_MAX: any. What is there now and more
  /// than that goes with the next insert(). For who watches the process's memory and can look only now and then.
  void bound_memory(std::uint64_t bytes) noexcept { bound_.store(bytes, std::memory_order_relaxed); }

  [[nodiscard]] std::size_t files() const noexcept;
  [[nodiscard]] std::size_t descriptors() const noexcept;
  [[nodiscard]] std::uint64_t memory() const noexcept;

 private:
  struct Key {
    const void* owner;
    std::string_view path;  // of the KeptFile it leads to
    friend bool operator==(const Key&, const Key&) noexcept = default;
  };
  struct Hash {
    std::size_t operator()(const Key& k) const noexcept {
      return std::hash<std::string_view>()(k.path) ^ (reinterpret_cast<std::uintptr_t>(k.owner) >> 4U);
    }
  };
  using Map = std::unordered_map<Key, std::shared_ptr<KeptFile>, Hash>;

  [[nodiscard]] List<KeptFile>& list_of(const KeptFile& file) noexcept FIBERD_REQUIRES(lock_) {
    return file.descriptors != 0 ? with_descriptors_ : in_memory_;
  }
  [[nodiscard]] KeptFile* oldest() const noexcept FIBERD_REQUIRES(lock_);
  [[nodiscard]] std::shared_ptr<KeptFile> take(Map::iterator at) noexcept FIBERD_REQUIRES(lock_);
  [[nodiscard]] std::shared_ptr<KeptFile> take(const KeptFile& file) noexcept FIBERD_REQUIRES(lock_);
  /// Who has to go next, and where that is counted; a null file: all is within bounds.
  struct Leaves {
    KeptFile* file = nullptr;
    metric::Counter* why = nullptr;
  };
  [[nodiscard]] Leaves too_much(std::size_t descriptors) const noexcept FIBERD_REQUIRES(lock_);

  const OpenFilesOptions options_;
  const OpenFilesMetrics metrics_;
  std::atomic<std::uint64_t> bound_{UINT64_MAX};
  mutable Lock lock_;
  Map map_ FIBERD_GUARDED_BY(lock_);
  List<KeptFile> with_descriptors_ FIBERD_GUARDED_BY(lock_);  // front: longest unused
  List<KeptFile> in_memory_ FIBERD_GUARDED_BY(lock_);         // those without any, likewise
  std::size_t files_ FIBERD_GUARDED_BY(lock_) = 0;
  std::size_t descriptors_ FIBERD_GUARDED_BY(lock_) = 0;
  std::uint64_t memory_ FIBERD_GUARDED_BY(lock_) = 0;
};

}  // namespace fiberd::http

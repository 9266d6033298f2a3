#pragma once
// CgroupMemory: how near the memory that the kernel charges to this process's control groups is to their limits.
//
// What counts is what the kernel counts before it kills: anonymous memory, stacks, sockets and their buffers, slab,
// page tables. Of this the process's resident size shows little more than half where there are many connections. Not
// counted are file pages that the kernel can drop at once: those of the two lists of file pages without the dirty ones
// and those that are being written. Counted all the same is reclaimable slab: it holds the inodes of open sockets,
// which cannot be reclaimed, and nothing tells the two apart.
//
// A limit may stand on any ancestor, where it is shared with others: so each group from the process's own up to the
// mount is looked at with its own charge and its own limit, and the one nearest to its limit is the answer. Version 2's
// memory.high counts as a limit, too: beyond it the kernel slows down every allocation, which serves nobody.
//
// What is kept is where the group lies, for a quarter of a second, since processes are moved, and the open files: who
// has run out of descriptors for clients is about to run out of memory, too, and must not lose sight of it then.
// Numbers are read anew each time: limits change while a process runs.
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/runtime/cgroup.hpp"

namespace fiberd::runtime {

struct MemoryCharge {
  std::uint64_t charge = 0;  ///< bytes
  std::uint64_t limit = 0;   ///< bytes; 0: there is none, and `charge` is 0, too
  [[nodiscard]] double share() const noexcept {
    return limit == 0 ? 0 : static_cast<double>(charge) / static_cast<double>(limit);
  }
};

/// One thread at a time.
class CgroupMemory {
 public:
  explicit CgroupMemory(CgroupPaths paths = this_cgroup_paths()) : paths_(std::move(paths)) {}

  /// Reads some files of the kernel's: some 50 µs where two groups have limits. `now`: monotonic ns. What cannot be
  /// read counts as no limit. Throws std::bad_alloc. Source: Linux, cgroup-v2 "memory.current", "memory.max",
  /// "memory.high", "memory.stat"; cgroup-v1 "memory.usage_in_bytes", "memory.limit_in_bytes", "memory.stat".
  [[nodiscard]] MemoryCharge look(std::int64_t now);

  /// The own group's memory.pressure, as of the last look; empty where there is none (version 1).
  [[nodiscard]] const std::string& pressure_file() const noexcept { return pressure_file_; }

 private:
  /// One of the kernel's files, which is read again and again. Opened when it is first asked for, and anew when what
  /// was opened is gone.
  class KeptFile {
   public:
    explicit KeptFile(std::string path) noexcept : path_(std::move(path)) {}
    ~KeptFile();
    KeptFile(const KeptFile&) = delete;
    KeptFile& operator=(const KeptFile&) = delete;
    /// Its text, as far as it fits; nullopt: it cannot be read.
    [[nodiscard]] std::optional<std::string_view> read(std::span<char> room) noexcept;
    /// The number at its beginning; nullopt: there is none ("max").
    [[nodiscard]] std::optional<std::uint64_t> number() noexcept;

   private:
    [[nodiscard]] bool open() noexcept;
    const std::string path_;
    int fd_ = -1;
  };
  struct Group {
    Group(int version, const std::string& directory);
    KeptFile max, high, usage, stat;
  };
  void find(std::int64_t now);
  [[nodiscard]] std::optional<std::uint64_t> limit_of(Group& group) const noexcept;
  [[nodiscard]] std::optional<MemoryCharge> look_at(Group& group) const noexcept;

  CgroupPaths paths_;
  std::optional<std::int64_t> found_at_;
  int version_ = 0;
  std::vector<std::string> directories_;  // from the own group up
  std::vector<std::unique_ptr<Group>> groups_;
  std::string pressure_file_;
};

/// What is charged without what the kernel can drop at once, of the text of a memory.stat. `version` 1 or 2.
[[nodiscard]] std::uint64_t charge_without_files(std::uint64_t usage, std::string_view stat, int version) noexcept;

}  // namespace fiberd::runtime

// How references are found without an allocator's or a compiler's help.
//
// C++ keeps no record of who points where. What can be done is what the Boehm collector and LeakSanitizer do: take
// every aligned word that looks like a pointer into the range for a reference. Wrong in one direction only: a number,
// or what is left of something freed, may look like a reference, and then less is called certain. What is passed over:
//
//  - stacks of fibers that have ended, and the part of a parked fiber's or blocked thread's stack that is free: what
//    stands there refers to nothing. Parked fibers are held still while they are copied; of those that run the whole
//    stack is read.
//  - the alternate stacks of signal handlers: the registers that the kernel saved there, and their frames, are left
//  over
//    from whom they interrupted.
//  - the memory of this search itself: the stack of its thread, its buffer; its tables keep addresses inverted.
//  - of a Fiber its function alone: the rest is the runtime's.
//
// What can be missed: a reference that exists in a register of a running thread alone, or that is moved from what was
// not read yet to what was, in the second that this takes; and one that is not kept as an address (compressed, or
// written to a file). Hence who asks must ask twice, some time apart, and believe what was so both times.
//
// Reading is process_vm_readv(2) of ourselves: a page that goes away meanwhile is an error and no fault. What was never
// touched is told by /proc/self/pagemap, and not read.
//
// Rejected: counting handles in the channels (a channel is reached by plain references, too, which nobody counts);
// fork(2) and a look at the copy (the fork of a large process stops all its threads); stopping the world.
#include "core/runtime/reference_search.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <unordered_set>

#include "core/base/defer.hpp"
#include "core/fiber/fault_handler.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::runtime {

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kBuffer = std::size_t{256} * 1024;
constexpr std::size_t kMostBytes = std::size_t{4} << 30U;
constexpr std::size_t kMostFound = 1'000'000;
constexpr std::size_t kFilterBits = std::size_t{1} << 20U;

using Range = std::pair<std::uintptr_t, std::uintptr_t>;

/// Where the stacks of fibers lie, of every class.
std::vector<Range> slabs(const Scheduler& s) {
  std::vector<Range> all;
  for (std::size_t i = 0; i < fiber::kStackClasses; ++i)
    if (const fiber::StackPool* const pool = s.stack_pool(static_cast<fiber::StackClass>(i)))
      for (const Range& r : pool->ranges()) all.push_back(r);
  return all;
}

/// A thread that is in a system call while it runs a fiber.
bool in_a_slab(const std::vector<Range>& slabs, std::uintptr_t address) {
  return std::any_of(slabs.begin(), slabs.end(),
                     [address](const Range& r) { return address >= r.first && address < r.second; });
}

/// The range that holds `address`, of those sorted by begin; nullptr: none.
const SearchRange* find(const std::vector<SearchRange>& ranges, std::uintptr_t address) noexcept {
  auto at = std::upper_bound(ranges.begin(), ranges.end(), HiddenAddress(address),
                             [](HiddenAddress a, const SearchRange& r) { return a < r.begin; });
  if (at == ranges.begin()) return nullptr;
  --at;
  return address - at->begin.reveal() < at->size ? &*at : nullptr;
}

class Search {
 public:
  explicit Search(SearchPlan plan) : plan_(std::move(plan)), filter_(kFilterBits / 64) {
    for (auto* const ranges : {&plan_.targets, &plan_.links, &plan_.queues, &plan_.tasks})
      std::sort(ranges->begin(), ranges->end(),
                [](const SearchRange& a, const SearchRange& b) { return a.begin < b.begin; });
    std::sort(plan_.fibers.begin(), plan_.fibers.end());
    for (const SearchRange& t : plan_.targets)
      for (std::uintptr_t page = t.begin.reveal() / kPage; page <= (t.begin.reveal() + t.size - 1) / kPage; ++page)
        filter_[bit(page) / 64] |= std::uint64_t{1} << (bit(page) % 64);
  }
  References run();

 private:
  static std::size_t bit(std::uintptr_t page) noexcept {
    return static_cast<std::size_t>((page * 0x9e3779b97f4a7c15ULL) >> 44U);
  }
  [[nodiscard]] bool may_hit(std::uintptr_t word) const noexcept {
    const std::size_t b = bit(word / kPage);
    return ((filter_[b / 64] >> (b % 64)) & 1U) != 0;
  }
  void give_up(const char* why) {
    if (result_.incomplete.empty()) result_.incomplete = why;
  }
  /// False: it is not, or not all, there.
  [[nodiscard]] bool copy(std::uintptr_t from, std::size_t size) noexcept {
    const iovec local{buffer_, size};
    const iovec remote{reinterpret_cast<void*>(from), size};
    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == static_cast<ssize_t>(size);
  }
  /// Of what was copied from `address`.
  void look(std::uintptr_t address, std::size_t size, std::uint32_t from) {
    result_.bytes += size;
    const auto* const words = static_cast<const std::uintptr_t*>(buffer_);
    for (std::size_t i = 0; i < size / sizeof(std::uintptr_t); ++i)
      if (may_hit(words[i])) [[unlikely]]
        hit(address + i * sizeof(std::uintptr_t), words[i], from);
  }
  void hit(std::uintptr_t at, std::uintptr_t word, std::uint32_t from);
  void read(std::uintptr_t begin, std::uintptr_t end, std::uint32_t from);
  void read_touched(std::uintptr_t begin, std::uintptr_t end, std::uint32_t from);
  void read_fibers(Scheduler& s);
  void read_stack(Scheduler& s, std::uint32_t index, std::uint32_t node);
  void read_rest();
  void pass_over_free_stacks(const Scheduler& s);
  [[nodiscard]] std::uint32_t node_of(std::uint32_t fiber) const noexcept {
    const auto at = std::lower_bound(plan_.fibers.begin(), plan_.fibers.end(), std::pair{fiber, 0U});
    return at != plan_.fibers.end() && at->first == fiber ? at->second : References::kElsewhere;
  }

  SearchPlan plan_;
  std::vector<std::uint64_t> filter_;  // by page
  std::unordered_set<std::uint64_t> seen_;
  std::vector<Range> passed_over_;
  void* buffer_ = nullptr;
  int pagemap_ = -1;
  References result_;
};

void Search::hit(std::uintptr_t at, std::uintptr_t word, std::uint32_t from) {
  const SearchRange* const target = find(plan_.targets, word);
  if (target == nullptr || find(plan_.links, word) != nullptr) return;
  if (from == References::kElsewhere) {
    if (const SearchRange* const inside = find(plan_.targets, at)) from = inside->node;
    const SearchRange* const queue = find(plan_.queues, at);
    // Of several that wait there one is the first and one the last: their nodes are equal only if it is one alone.
    if (queue != nullptr) {
      auto same = std::lower_bound(plan_.queues.begin(), plan_.queues.end(), *queue,
                                   [](const SearchRange& a, const SearchRange& b) { return a.begin < b.begin; });
      for (; same != plan_.queues.end() && same->begin == queue->begin; ++same)
        if (same->node == target->node) return;
    }
  }
  if (from == target->node) return;
  if (seen_.size() == kMostFound) return give_up("there were too many references");
  if (seen_.insert((std::uint64_t{from} << 32U) | target->node).second) result_.found.emplace_back(from, target->node);
}

void Search::read(std::uintptr_t begin, std::uintptr_t end, std::uint32_t from) {
  while (begin < end) {
    if (result_.bytes > kMostBytes) return give_up("the process has more than 4 GiB of memory");
    const std::size_t size = std::min(kBuffer, end - begin);
    if (copy(begin, size)) {
      look(begin, size, from);
    } else {  // page by page; those that are gone refer to nothing
      for (std::uintptr_t page = begin; page < begin + size;) {
        const std::uintptr_t next = std::min(begin + size, (page / kPage + 1) * kPage);
        if (copy(page, next - page)) look(page, next - page, from);
        page = next;
      }
    }
    begin += size;
  }
}

/// Those of its pages that were ever touched.
void Search::read_touched(std::uintptr_t begin, std::uintptr_t end, std::uint32_t from) {
  static constexpr std::uint64_t kPresent = std::uint64_t{1} << 63U;
  static constexpr std::uint64_t kSwapped = std::uint64_t{1} << 62U;
  std::array<std::uint64_t, 512> entries;
  for (std::uintptr_t page = begin / kPage; page * kPage < end;) {
    const std::size_t n = std::min<std::size_t>(entries.size(), (end - page * kPage + kPage - 1) / kPage);
    const ssize_t got =
        pread(pagemap_, entries.data(), n * sizeof(std::uint64_t), static_cast<off_t>(page * sizeof(std::uint64_t)));
    if (got != static_cast<ssize_t>(n * sizeof(std::uint64_t))) {
      give_up("/proc/self/pagemap cannot be read");
      return;
    }
    for (std::size_t i = 0; i < n;) {
      const auto touched = [&](std::size_t k) { return (entries[k] & (kPresent | kSwapped)) != 0; };
      std::size_t last = i;
      while (last < n && touched(last)) ++last;
      if (last != i) read(std::max(begin, (page + i) * kPage), std::min(end, (page + last) * kPage), from);
      i = std::max(last, i + 1);
    }
    page += n;
  }
}

void Search::read_stack(Scheduler& s, std::uint32_t index, std::uint32_t node) {
  Fiber& f = s.fiber_at(index);
  const bool held = f.status.begin_scan();
  // The bit must go whatever happens: what is found is written down, and memory may be out.
  const defer go_on([&] {
    if (held && f.status.end_scan()) s.ready(f, false);
  });
  const fiber::Stack* const stack = f.stack.load(std::memory_order_acquire);
  if (stack != nullptr) {
    const fiber::StackPool* const pool = s.stack_pool(stack->stack_class);
    const auto top = reinterpret_cast<std::uintptr_t>(pool->end(*stack));
    // An emergency page may open at any moment under who runs.
    const auto bottom = reinterpret_cast<std::uintptr_t>(held ? pool->lowest(*stack) : stack->base - pool->page_size());
    const auto frame = reinterpret_cast<std::uintptr_t>(f.context.frame);
    if (held && frame >= bottom && frame < top)
      read(frame, top, node);
    else if (!held)
      read_touched(bottom, top, References::kElsewhere);  // it runs, or may at any moment: all of it, and as a live one
  }
}

void Search::read_fibers(Scheduler& s) {
  const std::uint32_t n = s.fiber_indices();
  for (std::uint32_t first = 0; first < n; first += FiberTable::kChunk) {
    const auto chunk = reinterpret_cast<std::uintptr_t>(&s.fiber_at(first));
    const std::size_t size = FiberTable::kChunk * sizeof(Fiber);
    passed_over_.emplace_back(chunk, chunk + size);
    for (std::uint32_t i = std::max(first, 1U); i < first + FiberTable::kChunk; ++i) {
      Fiber& f = s.fiber_at(i);
      if (f.status.state() == State::idle) continue;
      const std::uint32_t node = node_of(i);
      const auto function = reinterpret_cast<std::uintptr_t>(&f.function);
      if (copy(function, sizeof f.function)) {
        if (!plan_.tasks.empty()) {
          std::uintptr_t word = 0;
          std::memcpy(&word, buffer_, sizeof word);
          const auto task = std::lower_bound(plan_.tasks.begin(), plan_.tasks.end(), HiddenAddress(word),
                                             [](const SearchRange& r, HiddenAddress a) { return r.begin < a; });
          if (task != plan_.tasks.end() && task->begin.reveal() == word) result_.runners.emplace_back(task->node, i);
        }
        look(function, sizeof f.function, node);
      }
      read_stack(s, i, node);
    }
  }
  for (const Range& r : slabs(s)) passed_over_.push_back(r);
}

/// Of threads in a system call: below their stack pointer. The kernel tells it where it was built to.
void Search::pass_over_free_stacks(const Scheduler& s) {
  DIR* const tasks = opendir("/proc/self/task");
  if (tasks == nullptr) return;
  const defer closed([tasks] { (void)closedir(tasks); });
  const std::vector<Range> stacks = slabs(s);
  std::vector<std::uintptr_t> pointers;
  while (const dirent* const entry = readdir(tasks)) {
    if (entry->d_name[0] == '.') continue;
    char path[64];
    std::snprintf(path, sizeof path, "/proc/self/task/%.16s/syscall", entry->d_name);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    char text[256];
    const ssize_t n = ::read(fd, text, sizeof text - 1);
    (void)close(fd);
    if (n <= 0) continue;
    text[n] = '\0';
    // "202 0x… (six arguments) sp pc", "-1 sp pc", "running"
    const char* const last = std::strrchr(text, ' ');
    if (last == nullptr) continue;
    const char* before = last;
    while (before > text && before[-1] != ' ') --before;
    std::uintptr_t pointer = 0;
    if (std::sscanf(before, "%" SCNxPTR, &pointer) == 1 && !in_a_slab(stacks, pointer)) pointers.push_back(pointer);
  }
  std::FILE* const maps = std::fopen("/proc/self/maps", "re");
  if (maps == nullptr) return;
  const defer maps_closed([maps] { (void)std::fclose(maps); });
  char line[512];
  while (std::fgets(line, sizeof line, maps) != nullptr) {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &begin, &end) != 2) continue;
    std::uintptr_t lowest = 0;
    for (const std::uintptr_t p : pointers)
      if (p > begin && p < end && (lowest == 0 || p < lowest)) lowest = p;
    static constexpr std::uintptr_t kRedZone = 128;
    if (lowest > begin + kRedZone) passed_over_.emplace_back(begin, lowest - kRedZone);
  }
}

void Search::read_rest() {
  std::sort(passed_over_.begin(), passed_over_.end());
  std::vector<Range> regions;
  {
    std::FILE* const maps = std::fopen("/proc/self/maps", "re");
    if (maps == nullptr) return give_up("/proc/self/maps cannot be read");
    const defer closed([maps] { (void)std::fclose(maps); });
    char line[4608];  // a path is longer than that nowhere
    while (std::fgets(line, sizeof line, maps) != nullptr) {
      std::uintptr_t begin = 0;
      std::uintptr_t end = 0;
      char rights[8] = {};
      if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %7s", &begin, &end, rights) != 3) continue;
      if (rights[0] != 'r' || rights[1] != 'w' || std::strstr(line, "[v") != nullptr) continue;
      regions.emplace_back(begin, end);
    }
  }
  for (const auto& [begin, end] : regions) {
    std::uintptr_t at = begin;
    for (const auto& [from, to] : passed_over_) {
      if (to <= at) continue;
      if (from >= end) break;
      if (from > at) read_touched(at, std::min(from, end), References::kElsewhere);
      at = std::max(at, to);
    }
    if (at < end) read_touched(at, end, References::kElsewhere);
  }
}

References Search::run() {
  if (!can_search_references()) {
    give_up("this build cannot search its memory");
    return std::move(result_);
  }
  Scheduler* const s = Scheduler::instance();
  if (s == nullptr) return std::move(result_);
  buffer_ = mmap(nullptr, kBuffer, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (buffer_ == MAP_FAILED) {
    give_up("memory is out");
    return std::move(result_);
  }
  const defer unmapped([this] { (void)munmap(buffer_, kBuffer); });
  pagemap_ = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (pagemap_ < 0) {
    give_up("/proc/self/pagemap cannot be opened");
    return std::move(result_);
  }
  const defer closed([this] { (void)close(pagemap_); });
  const auto buffer = reinterpret_cast<std::uintptr_t>(buffer_);
  passed_over_.emplace_back(buffer, buffer + kBuffer);
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
    void* stack = nullptr;
    std::size_t size = 0;
    if (pthread_attr_getstack(&attributes, &stack, &size) == 0)
      passed_over_.emplace_back(reinterpret_cast<std::uintptr_t>(stack),
                                reinterpret_cast<std::uintptr_t>(stack) + size);
    (void)pthread_attr_destroy(&attributes);
  }
  if (!copy(reinterpret_cast<std::uintptr_t>(&plan_), sizeof(void*))) {
    give_up("process_vm_readv is not allowed");
    return std::move(result_);
  }
  for (const Range& r : fiber::signal_stacks()) passed_over_.push_back(r);
  pass_over_free_stacks(*s);
  read_fibers(*s);
  read_rest();
  return std::move(result_);
}

}  // namespace

bool can_search_references() noexcept {
#if defined(FIBERD_ASAN) || defined(FIBERD_TSAN)
  return false;
#else
  return true;
#endif
}

References search_references(SearchPlan plan) { return Search(std::move(plan)).run(); }

}  // namespace fiberd::runtime

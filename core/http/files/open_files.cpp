#include "core/http/files/open_files.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <utility>

namespace fiberd::http {

static constexpr rlim_t kShare = 4;  // of the descriptors: a fourth

static std::size_t most_descriptors() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return SIZE_MAX;
  return static_cast<std::size_t>(std::min<rlim_t>(limit.rlim_cur / kShare, SIZE_MAX));
}

std::shared_ptr<KeptFile> OpenFiles::find(const void* owner, std::string_view path, std::int64_t now) noexcept {
  const LockGuard guard(lock_);
  const auto it = map_.find({owner, path});
  if (it == map_.end()) return nullptr;
  KeptFile& file = *it->second;
  List<KeptFile>::remove(file);
  list_of(file).push_back(file);
  file.used = now;
  return it->second;
}

KeptFile* OpenFiles::oldest() const noexcept {
  KeptFile* const a = with_descriptors_.front();
  KeptFile* const b = in_memory_.front();
  if (a == nullptr || b == nullptr) return a != nullptr ? a : b;
  return a->used <= b->used ? a : b;
}

/// Out of all that is kept; whoever called lets go of it after the lock.
std::shared_ptr<KeptFile> OpenFiles::take(Map::iterator at) noexcept {
  std::shared_ptr<KeptFile> file = std::move(at->second);
  map_.erase(at);
  List<KeptFile>::remove(*file);
  files_ -= file->files;
  descriptors_ -= file->descriptors;
  memory_ -= file->memory;
  if (metrics_.files != nullptr) metrics_.files->sub(file->files);
  if (metrics_.descriptors != nullptr) metrics_.descriptors->sub(file->descriptors);
  if (metrics_.memory != nullptr) metrics_.memory->sub(static_cast<std::int64_t>(file->memory));
  return file;
}

std::shared_ptr<KeptFile> OpenFiles::take(const KeptFile& file) noexcept {
  return take(map_.find({file.owner, file.path}));
}

OpenFiles::Leaves OpenFiles::too_much(std::size_t descriptors) const noexcept {
  if (files_ > options_.files) return {oldest(), metrics_.evicted_room};
  if (descriptors_ > descriptors) return {with_descriptors_.front(), metrics_.evicted_room};
  const bool own = memory_ > options_.memory;
  if (!own && memory_ <= bound_.load(std::memory_order_relaxed)) return {};
  return {in_memory_.empty() ? with_descriptors_.front() : in_memory_.front(),
          own ? metrics_.evicted_room : metrics_.evicted_shortage};
}

void OpenFiles::insert(std::shared_ptr<KeptFile> file, std::int64_t now) {
  sweep(now);
  const std::size_t descriptors = most_descriptors();
  // Nobody has to go for what cannot stay.
  const bool fits =
      file->files <= options_.files && file->descriptors <= descriptors && file->memory <= options_.memory;
  std::shared_ptr<KeptFile> gone;  // let go of after the lock, which is given back for each
  {
    const LockGuard guard(lock_);
    if (const auto it = map_.find({file->owner, file->path}); it != map_.end()) gone = take(it);
    if (fits) {
      KeptFile& f = *file;
      map_.emplace(Key{f.owner, f.path}, std::move(file));
      list_of(f).push_back(f);
      f.used = now;
      files_ += f.files;
      descriptors_ += f.descriptors;
      memory_ += f.memory;
      if (metrics_.files != nullptr) metrics_.files->add(f.files);
      if (metrics_.descriptors != nullptr) metrics_.descriptors->add(f.descriptors);
      if (metrics_.memory != nullptr) metrics_.memory->add(static_cast<std::int64_t>(f.memory));
    }
  }
  for (;;) {
    gone.reset();
    const LockGuard guard(lock_);
    const Leaves next = too_much(descriptors);
    if (next.file == nullptr) return;
    gone = take(*next.file);
    metric::count(next.why);
  }
}

void OpenFiles::erase(const void* owner, std::string_view path) noexcept {
  std::shared_ptr<KeptFile> gone;
  const LockGuard guard(lock_);
  if (const auto it = map_.find({owner, path}); it != map_.end()) gone = take(it);
}

// Others ask for their files meanwhile, so the lock is given back after a few steps, and the place in the map is
// remembered: a look from its beginning for each file would take the square of their number. Nothing of the owner's
// comes any more; when the map has grown what is there has moved, and all of it is looked at again.
void OpenFiles::forget(const void* owner) noexcept {
  static constexpr std::size_t kBuckets = 256;
  std::size_t buckets = 0;
  std::size_t bucket = 0;
  for (bool more = true; more;) {
    std::array<std::shared_ptr<KeptFile>, 16> gone;
    std::size_t n = 0;
    const LockGuard guard(lock_);
    if (map_.bucket_count() != buckets) {
      buckets = map_.bucket_count();
      bucket = 0;
    }
    const std::size_t until = std::min(buckets, bucket + kBuckets);
    while (bucket < until && n < gone.size()) {
      const auto found =
          std::find_if(map_.begin(bucket), map_.end(bucket), [&](const auto& e) { return e.first.owner == owner; });
      if (found != map_.end(bucket))
        gone[n++] = take(*found->second);
      else
        ++bucket;
    }
    more = bucket < buckets;
  }
}

void OpenFiles::sweep(std::int64_t now) noexcept {
  const std::int64_t until = now - options_.age.count();
  for (;;) {
    std::shared_ptr<KeptFile> gone;
    const LockGuard guard(lock_);
    const KeptFile* const next = oldest();
    if (next == nullptr || next->used > until) return;
    gone = take(*next);
    metric::count(metrics_.evicted_age);
  }
}

std::size_t OpenFiles::reclaim(std::size_t wanted) noexcept {
  std::size_t closed = 0;
  while (closed < wanted) {
    std::shared_ptr<KeptFile> gone;
    const LockGuard guard(lock_);
    const KeptFile* const next = with_descriptors_.front();
    if (next == nullptr) break;
    gone = take(*next);
    metric::count(metrics_.evicted_shortage);
    // One that is being sent is closed when it has been.
    if (gone.use_count() == 1) closed += gone->descriptors;
  }
  return closed;
}

void OpenFiles::clear() noexcept {
  for (;;) {
    std::shared_ptr<KeptFile> gone;
    const LockGuard guard(lock_);
    const KeptFile* const next = oldest();
    if (next == nullptr) return;
    gone = take(*next);
    metric::count(metrics_.evicted_shortage);
  }
}

std::size_t OpenFiles::files() const noexcept {
  const LockGuard guard(lock_);
  return files_;
}
std::size_t OpenFiles::descriptors() const noexcept {
  const LockGuard guard(lock_);
  return descriptors_;
}
std::uint64_t OpenFiles::memory() const noexcept {
  const LockGuard guard(lock_);
  return memory_;
}

}  // namespace fiberd::http

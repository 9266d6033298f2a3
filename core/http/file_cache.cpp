#include "core/http/file_cache.hpp"

#include <algorithm>
#include <vector>

#include "core/runtime/blocking.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http {

static constexpr std::int64_t kValid = 1'000'000'000;

FileCache::FileCache(const FileRoot& root, std::size_t capacity, std::vector<std::string> siblings,
                     std::function<void(Entry&)> prepare)
    : root_(root),
      capacity_(std::max<std::size_t>(capacity, 1)),
      siblings_(std::move(siblings)),
      prepare_(std::move(prepare)) {}
FileCache::~FileCache() = default;

std::size_t FileCache::size() const noexcept {
  const LockGuard guard(lock_);
  return entries_.size();
}

std::shared_ptr<FileCache::Entry> FileCache::find(std::string_view path) noexcept {
  const LockGuard guard(lock_);
  const auto it = entries_.find(path);
  if (it == entries_.end()) return nullptr;
  List<Entry>::remove(*it->second);
  used_.push_back(*it->second);
  return it->second;
}

void FileCache::insert(const std::shared_ptr<Entry>& entry) {
  std::vector<std::shared_ptr<Entry>> evicted;  // closed after the lock
  const LockGuard guard(lock_);
  auto& place = entries_[entry->path];
  if (place != nullptr) {
    List<Entry>::remove(*place);
    evicted.push_back(std::move(place));
  }
  place = entry;
  used_.push_back(*entry);
  while (entries_.size() > capacity_) {
    Entry* const oldest = used_.pop_front();
    const auto it = entries_.find(oldest->path);
    evicted.push_back(std::move(it->second));
    entries_.erase(it);
  }
}

void FileCache::erase(std::string_view path) noexcept {
  std::shared_ptr<Entry> gone;
  const LockGuard guard(lock_);
  const auto it = entries_.find(path);
  if (it == entries_.end()) return;
  List<Entry>::remove(*it->second);
  gone = std::move(it->second);
  entries_.erase(it);
}

/// On the blocking pool.
Result<std::shared_ptr<FileCache::Entry>> FileCache::open(const std::string& path) const {
  auto file = root_.open_below(path);
  if (!file) return fail(file.error());
  auto entry = std::make_shared<Entry>();
  entry->path = path;
  entry->content.file = std::move(*file);
  if (entry->content.file->kind() != OpenFile::Kind::regular) return entry;
  for (std::size_t i = 0; i < siblings_.size() && i < kMaxSiblings; ++i) {
    auto sibling = root_.open_below(path + siblings_[i]);
    // One that cannot be had, for whatever reason, is no reason to refuse the file itself.
    if (!sibling || (*sibling)->kind() != OpenFile::Kind::regular) continue;
    if ((*sibling)->mtime() >= entry->content.file->mtime()) entry->compressed[i].file = std::move(*sibling);
  }
  if (prepare_) prepare_(*entry);
  return entry;
}

static bool same(const FileCache::Content& a, const FileCache::Content& b) noexcept {
  if (a.file == nullptr || b.file == nullptr) return a.file == b.file;
  return a.file->same_as(*b.file);
}

Result<std::shared_ptr<FileCache::Entry>> FileCache::get(std::string_view path) {
  const std::int64_t now = runtime::coarse_now();
  std::shared_ptr<Entry> present = find(path);
  if (present != nullptr) {
    const std::int64_t until = present->valid_until.load(std::memory_order_relaxed);
    if (now < until) return present;
    if (now < until + kValid) {
      // The one that gets the revalidation looks again; the others use the entry meanwhile.
      std::int64_t busy = present->revalidation.load(std::memory_order_relaxed);
      if (now < busy || !present->revalidation.compare_exchange_strong(busy, now + kValid, std::memory_order_relaxed))
        return present;
    }
  }
  const std::string name(path);
  Result<std::shared_ptr<Entry>> opened = runtime::blocking([&] { return open(name); });
  if (!opened) {
    if (present != nullptr) erase(path);
    return fail(opened.error());
  }
  if (present != nullptr && same(present->content, (*opened)->content) &&
      std::equal(present->compressed.begin(), present->compressed.end(), (*opened)->compressed.begin(), same)) {
    present->valid_until.store(now + kValid, std::memory_order_relaxed);
    return present;
  }
  (*opened)->valid_until.store(now + kValid, std::memory_order_relaxed);
  insert(*opened);
  return opened;
}

}  // namespace fiberd::http

#include "core/http/files/file_cache.hpp"

#include <algorithm>
#include <utility>

#include "core/runtime/blocking.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http {

static constexpr std::int64_t kValid = 1'000'000'000;
static constexpr std::size_t kRoom = 16;  // descriptors asked back at a time when there is none

FileCache::FileCache(const FileRoot& root, OpenFiles& kept, std::vector<std::string> siblings,
                     std::function<void(Entry&)> prepare)
    : root_(root), kept_(kept), siblings_(std::move(siblings)), prepare_(std::move(prepare)) {}
FileCache::~FileCache() { kept_.forget(this); }

static bool is_out_of_descriptors(std::error_code error) noexcept {
  return error == std::errc::too_many_files_open || error == std::errc::too_many_files_open_in_system;
}

/// On the blocking pool. Before anybody is told that descriptors are out, those that are only kept are given up.
Result<std::shared_ptr<OpenFile>> FileCache::open_with_room(const std::string& path) const {
  auto file = root_.open_below(path);
  while (!file && is_out_of_descriptors(file.error()) && kept_.reclaim(kRoom) != 0) file = root_.open_below(path);
  return file;
}

/// On the blocking pool. What is known already and has not changed is not read again.
Result<std::shared_ptr<const OpenFile>> FileCache::open_form(const std::string& path, const Content* present) const {
  Result<std::shared_ptr<OpenFile>> file = open_with_room(path);
  if (!file) return fail(file.error());
  if (present != nullptr && present->file != nullptr && present->file->same_as(**file)) return present->file;
  if (const std::error_code error = error_of((*file)->load(std::min(kSmall, kept_.options().memory / 8))))
    return fail(error);
  return std::shared_ptr<const OpenFile>(std::move(*file));
}

/// On the blocking pool.
Result<std::shared_ptr<FileCache::Entry>> FileCache::open(const std::string& path, const Entry* present) const {
  auto file = open_form(path, present != nullptr ? &present->content : nullptr);
  if (!file) return fail(file.error());
  auto entry = std::make_shared<Entry>(this, path);
  entry->content.file = std::move(*file);
  const bool regular = entry->content.file->kind() == OpenFile::Kind::regular;
  for (std::size_t i = 0; regular && i < siblings_.size() && i < kMaxSiblings; ++i) {
    auto sibling = open_form(path + siblings_[i], present != nullptr ? &present->compressed[i] : nullptr);
    // One that cannot be had, for whatever reason, is no reason to refuse the file itself.
    if (!sibling || (*sibling)->kind() != OpenFile::Kind::regular) continue;
    if ((*sibling)->mtime() >= entry->content.file->mtime()) entry->compressed[i].file = std::move(*sibling);
  }
  entry->files = 0;
  const auto count_in = [&](const Content& content) {
    if (content.file == nullptr) return;
    ++entry->files;
    if (content.file->fd() >= 0) ++entry->descriptors;
    entry->memory += content.file->bytes().size();
  };
  count_in(entry->content);
  for (const Content& content : entry->compressed) count_in(content);
  if (regular && prepare_) prepare_(*entry);
  return entry;
}

/// Opens it, in place of `present`, which may be null.
Result<std::shared_ptr<FileCache::Entry>> FileCache::look(std::string_view path, const std::shared_ptr<Entry>& present,
                                                          std::int64_t now) {
  const std::string name(path);
  Result<std::shared_ptr<Entry>> opened = runtime::blocking([&] { return open(name, present.get()); });
  if (!opened) {
    if (present != nullptr && !is_out_of_descriptors(opened.error())) kept_.erase(this, path);
    return opened;
  }
  const auto same = [](const Content& a, const Content& b) { return a.file == b.file; };
  if (present != nullptr && same(present->content, (*opened)->content) &&
      std::equal(present->compressed.begin(), present->compressed.end(), (*opened)->compressed.begin(), same)) {
    present->valid_until.store(now + kValid, std::memory_order_relaxed);
    return present;
  }
  metric::count(present != nullptr ? kept_.metrics().renewed : kept_.metrics().misses);
  (*opened)->valid_until.store(now + kValid, std::memory_order_relaxed);
  kept_.insert(*opened, now);
  return opened;
}

Result<std::shared_ptr<FileCache::Entry>> FileCache::get(std::string_view path) {
  const std::int64_t now = runtime::coarse_now();
  std::shared_ptr<Entry> present = std::static_pointer_cast<Entry>(kept_.find(this, path, now));
  if (present == nullptr) return look(path, nullptr, now);
  metric::count(kept_.metrics().hits);
  const std::int64_t until = present->valid_until.load(std::memory_order_relaxed);
  if (now < until) return present;
  if (now < until + kValid) {
    // The one that gets the revalidation looks again; the others use the entry meanwhile.
    std::int64_t busy = present->revalidation.load(std::memory_order_relaxed);
    if (now < busy || !present->revalidation.compare_exchange_strong(busy, now + kValid, std::memory_order_relaxed))
      return present;
  }
  return look(path, present, now);
}

Result<std::shared_ptr<FileCache::Entry>> FileCache::renew(const std::shared_ptr<Entry>& entry) {
  return look(entry->path, entry, runtime::coarse_now());
}

}  // namespace fiberd::http

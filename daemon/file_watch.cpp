#include "daemon/file_watch.hpp"

#include <fnmatch.h>
#include <glob.h>
#include <limits.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string_view>
#include <utility>

#include "core/base/clock.hpp"
#include "core/runtime/blocking.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::daemon {

namespace {

constexpr std::string_view kWild = "*?[\\";

bool is_pattern(std::string_view part) { return part.find_first_of(kWild) != std::string_view::npos; }

std::string glob_quoted(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (kWild.find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::vector<std::string> parts_of(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    if (end != 0 && path.substr(0, end) != ".") parts.emplace_back(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return parts;
}

std::string below(const std::string& directory, std::string_view name) {
  std::string path = directory;
  if (!path.ends_with('/')) path += '/';
  return path.append(name);
}

// Leaves: errno is a thread's.
[[gnu::noinline]] int make_inotify() noexcept {
  const int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  return fd < 0 ? -errno : fd;
}
[[gnu::noinline]] int add_watch(int fd, const std::string& path, std::uint32_t mask) noexcept {
  const int watch = ::inotify_add_watch(fd, path.c_str(), mask);
  return watch < 0 ? -errno : watch;
}
[[gnu::noinline]] ssize_t take(int fd, char* buffer, std::size_t size) noexcept {
  const ssize_t n = ::read(fd, buffer, size);
  return n < 0 ? -errno : n;
}

constexpr std::uint32_t kGone = IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT;
// Not IN_MODIFY: who writes a log beside the configuration would be seen with each line. A file that is read is closed
// by who wrote it.
constexpr std::uint32_t kDirectory =
    IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM | IN_CLOSE_WRITE | kGone | IN_ONLYDIR;
// It may be watched by another name, for more.
constexpr std::uint32_t kOnTheWay = kGone | IN_ONLYDIR | IN_MASK_ADD;
constexpr std::uint32_t kFile = IN_MODIFY | IN_CLOSE_WRITE | kGone;

}  // namespace

void WatchTargets::add(const WatchedName& name) {
  const bool absolute = (name.directory.empty() ? name.pattern : name.directory).starts_with('/');
  std::vector<std::string> parts;
  for (std::string& part : parts_of(name.directory)) parts.push_back(glob_quoted(part));
  for (std::string& part : parts_of(name.pattern)) parts.push_back(std::move(part));
  walk(absolute ? "/" : ".", std::move(parts), 0);
}

/// `parts`: patterns, in each of which a backslash takes its meaning from the character behind it.
void WatchTargets::walk(std::string at, std::vector<std::string> parts, std::size_t links) {
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (directories_.size() > kMostDirectories) return;
    const std::string& part = parts[i];
    std::string plain;
    bool wild = false;
    for (std::size_t c = 0; c < part.size(); ++c) {
      if (part[c] == '\\' && c + 1 < part.size())
        ++c;
      else
        wild = wild || is_pattern(part.substr(c, 1));
      plain += part[c];
    }
    const std::vector<std::string> rest(parts.begin() + static_cast<std::ptrdiff_t>(i) + 1, parts.end());
    if (wild) {
      directories_[at].insert(part);
      glob_t found{};
      if (::glob(below(glob_quoted(at), part).c_str(), GLOB_NOSORT, nullptr, &found) == 0)
        for (std::size_t n = 0; n < found.gl_pathc; ++n) {
          const std::string_view path = found.gl_pathv[n];
          std::vector<std::string> next{glob_quoted(path.substr(path.rfind('/') + 1))};
          next.insert(next.end(), rest.begin(), rest.end());
          walk(at, std::move(next), links);
        }
      ::globfree(&found);
      return;
    }
    const std::string path = below(at, plain);
    struct stat info {};
    if (::lstat(path.c_str(), &info) != 0) {  // it may come to be
      directories_[at].insert(part);
      return;
    }
    if (S_ISLNK(info.st_mode)) {
      directories_[at].insert(part);
      char target[PATH_MAX];
      const ssize_t size = ::readlink(path.c_str(), target, sizeof target);
      if (size <= 0 || links == kMostLinks) return;
      const std::string_view to(target, static_cast<std::size_t>(size));
      std::vector<std::string> next;
      for (const std::string& step : parts_of(to)) next.push_back(glob_quoted(step));
      next.insert(next.end(), rest.begin(), rest.end());
      return walk(to.starts_with('/') ? "/" : std::move(at), std::move(next), links + 1);
    }
    if (!S_ISDIR(info.st_mode)) {
      directories_[at].insert(part);
      if (S_ISREG(info.st_mode)) files_.insert(path);
      return;
    }
    at = path;
    (void)directories_[at];  // no name in it yet: whether it is moved away, or goes
  }
}

FileWatch::~FileWatch() {
  if (descriptor_ != nullptr) descriptor_->close();
  if (fd_ >= 0) ::close(fd_);
}

FileWatch::Armed FileWatch::arm(const WatchTargets& targets) {
  Armed armed;
  if (fd_ < 0) {
    const int fd = make_inotify();
    if (fd < 0) return {.fresh = false, .watches = 0, .error = {-fd, std::system_category()}};
    const Result<runtime::PollDescriptor*> opened = runtime::PollDescriptor::open(fd);
    if (!opened) {
      ::close(fd);
      return {.fresh = false, .watches = 0, .error = opened.error()};
    }
    fd_ = fd;
    descriptor_ = *opened;
  }
  std::map<int, std::set<std::string>> now;
  const auto watch = [&](const std::string& path, std::uint32_t mask, const std::set<std::string>& names) {
    const int id = add_watch(fd_, path, mask);
    if (id < 0) {
      // What is not there is seen by the directory above it. Many directories may be gone through and not be read.
      const bool closed = mask == kOnTheWay && id == -EACCES;
      if (id != -ENOENT && id != -ENOTDIR && !closed && !armed.error) armed.error = {-id, std::system_category()};
      return;
    }
    now[id].insert(names.begin(), names.end());
    armed.fresh = armed.fresh || !watches_.contains(id);
  };
  for (const auto& [directory, names] : targets.directories())
    if (!names.empty()) watch(directory, kDirectory, names);
  for (const std::string& file : targets.files()) watch(file, kFile, {});
  // Last, where there are few watches left: they are moved once in a long time.
  for (const auto& [directory, names] : targets.directories())
    if (names.empty()) watch(directory, kOnTheWay, names);
  for (const auto& [id, names] : watches_)
    if (!now.contains(id)) (void)::inotify_rm_watch(fd_, id);
  watches_ = std::move(now);
  armed.watches = watches_.size();
  return armed;
}

bool FileWatch::is_relevant(int watch, std::uint32_t mask, const char* name) const {
  if ((mask & IN_Q_OVERFLOW) != 0) return true;
  const auto at = watches_.find(watch);
  if (at == watches_.end()) return false;  // one that has been removed
  if ((mask & (kGone | IN_IGNORED)) != 0 || name == nullptr) return true;
  for (const std::string& pattern : at->second)
    if (::fnmatch(pattern.c_str(), name, 0) == 0) return true;
  return false;
}

bool FileWatch::drain() {
  if (fd_ < 0) return false;
  bool relevant = false;
  alignas(inotify_event) char buffer[16 * 1024];
  for (;;) {
    const ssize_t n = take(fd_, buffer, sizeof buffer);
    if (n == -EINTR) continue;
    if (n <= 0) return relevant;
    for (const char* p = buffer; p < buffer + n;) {
      const auto* const event = reinterpret_cast<const inotify_event*>(p);
      relevant = relevant || is_relevant(event->wd, event->mask, event->len != 0 ? event->name : nullptr);
      if ((event->mask & IN_IGNORED) != 0) watches_.erase(event->wd);
      p += sizeof(inotify_event) + event->len;
    }
  }
}

Result<void> FileWatch::wait(Deadline deadline, runtime::Cancellation& cancellation) {
  if (descriptor_ == nullptr) return fail(std::make_error_code(std::errc::bad_file_descriptor));
  for (;;) {
    if (drain()) return {};
    if (const Result<void> ready =
            descriptor_->wait(runtime::Direction::read, runtime::WaitReason::file, deadline, &cancellation);
        !ready)
      return ready;
  }
}

void FileWatch::follow(runtime::CancelSource& over, const std::function<bool()>& look,
                       const std::function<void(const std::exception&)>& failed) {
  static constexpr std::chrono::milliseconds kQuiet{250};
  static constexpr std::chrono::seconds kMostBurst{1};
  static constexpr std::chrono::seconds kRetry{60};
  while (!over.canceled()) {
    bool complete = false;
    try {
      complete = runtime::blocking([&] { return look(); });
    } catch (const std::exception& e) {
      failed(e);
    }
    const Deadline retry = complete ? Deadline::never() : Deadline::in(kRetry);
    const Result<void> changed = wait(retry, over);
    if (!changed && changed.error() != std::errc::timed_out) {
      // Without a descriptor, or with one that cannot be waited for, the minute still passes.
      (void)runtime::sleep_for(kRetry, &over);
      continue;
    }
    const Deadline latest = Deadline::in(kMostBurst);
    while (changed && !over.canceled() && monotonic_now() < latest.ns()) {
      (void)runtime::sleep_for(kQuiet, &over);
      if (!drain()) break;
    }
  }
}

}  // namespace fiberd::daemon

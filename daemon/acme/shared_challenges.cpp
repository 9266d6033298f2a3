#include "daemon/acme/shared_challenges.hpp"

#include <unistd.h>

#include <filesystem>
#include <new>

#include "core/base/read_file.hpp"
#include "daemon/acme/files.hpp"

namespace fiberd::daemon::acme {

std::string SharedChallenges::file_of(std::string_view kind, std::string_view of) const {
  return directory_ + "/" + std::string(kind) + "-" + digest_of(of);
}

Outcome<void> SharedChallenges::put(std::string_view kind, std::string_view of, std::string_view text) const {
  if (Outcome<void> made = make_directory(directory_); !made) return made;
  std::string all(of);
  all.append("\n").append(text);
  return write_file(file_of(kind, of), all, Lasting::no);
}

void SharedChallenges::take(std::string_view kind, std::string_view of) const noexcept {
  try {
    (void)::unlink(file_of(kind, of).c_str());
    (void)::rmdir(directory_.c_str());  // of the last one
  } catch (const std::bad_alloc&) {     // whoever has the lock next takes it away
  }
}

std::optional<std::string> SharedChallenges::find(std::string_view kind, std::string_view of) const {
  static constexpr std::size_t kMost = std::size_t{16} * 1024;
  const Result<std::string> text = read_file(file_of(kind, of), kMost);
  const bool right =
      text && text->size() > of.size() && text->compare(0, of.size(), of) == 0 && (*text)[of.size()] == '\n';
  return right ? std::optional<std::string>(text->substr(of.size() + 1)) : std::nullopt;
}

void SharedChallenges::clear() const noexcept {
  std::error_code ignored;
  (void)std::filesystem::remove_all(directory_, ignored);
}

}  // namespace fiberd::daemon::acme

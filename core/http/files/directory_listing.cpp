#include "core/http/files/directory_listing.hpp"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <memory>
#include <tuple>
#include <utility>

#include "core/base/json.hpp"
#include "core/base/utf8.hpp"
#include "core/http/characters.hpp"

namespace fiberd::http {
namespace {

struct CloseDirectory {
  void operator()(DIR* d) const noexcept { ::closedir(d); }
};

/// As a segment of a relative reference: "./" goes before it, so that a colon makes no scheme of it.
void append_segment(std::string& out, std::string_view name) {
  for (const char c : name) {
    if (is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~') {
      out += c;
    } else {
      const auto u = static_cast<unsigned char>(c);
      out += '%';
      out += kUpperHexDigits[u >> 4U];
      out += kUpperHexDigits[u & 15U];
    }
  }
}

/// C0, DEL and C1: HTML allows none of them but white space, and a name has no lines.
bool is_control(std::string_view sequence) noexcept {
  const auto u = static_cast<unsigned char>(sequence.front());
  if (sequence.size() == 1) return u < 0x20 || u == 0x7f;
  return u == 0xc2 && static_cast<unsigned char>(sequence[1]) < 0xa0;
}

void append_html(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const std::size_t n = utf8_length(text);
    const std::string_view sequence = text.substr(0, n);
    if (n == 0 || is_control(sequence)) {
      out += kReplacementCharacter;
    } else {
      switch (text.front()) {
        case '&': out += "&amp;"; break;
        case '<': out += "&lt;"; break;
        case '>': out += "&gt;"; break;
        case '"': out += "&quot;"; break;
        case '\'': out += "&#39;"; break;
        default: out += sequence;
      }
    }
    text.remove_prefix(std::max<std::size_t>(n, 1));
  }
}

std::string timestamp(std::int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  char text[32] = "";
  if (gmtime_r(&time, &parts) != nullptr) (void)std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace

Result<Listing> list_directory(const FileRoot& root, const std::string& path, std::size_t most) {
  const auto directory = root.open_below(path);
  if (!directory) return fail(directory.error());
  // A descriptor of its own: reading moves its position, and closedir closes it.
  const int fd = ::openat((*directory)->fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return fail_errno(-errno);
  const std::unique_ptr<DIR, CloseDirectory> dir(::fdopendir(fd));
  if (dir == nullptr) {
    const int error = errno;
    ::close(fd);
    return fail_errno(-error);
  }
  Listing listing;
  std::vector<ListedName>& names = listing.names;
  for (;;) {
    errno = 0;
    const dirent* const entry = ::readdir(dir.get());  // NOLINT: no other thread has this stream
    if (entry == nullptr) {
      if (errno != 0) return fail_errno(-errno);
      break;
    }
    if (entry->d_name[0] == '.') continue;
    struct stat st {};
    if (::fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;  // gone meanwhile
    ListedName name{entry->d_name, S_ISDIR(st.st_mode), static_cast<std::uint64_t>(st.st_size), st.st_mtim.tv_sec};
    if (S_ISLNK(st.st_mode)) {
      // The same call by which it would be served says whether it is.
      const auto target = root.open_below((path.empty() || path.ends_with('/') ? path : path + "/") + name.name);
      if (!target) continue;
      name.directory = (*target)->kind() == OpenFile::Kind::directory;
      name.size = (*target)->size();
      name.mtime = (*target)->mtime();
    } else if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
      continue;
    }
    if (names.size() == most) {
      listing.cut = true;
      break;
    }
    names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end(), [](const ListedName& a, const ListedName& b) {
    return std::tuple(!a.directory, std::string_view(a.name)) < std::tuple(!b.directory, std::string_view(b.name));
  });
  return listing;
}

std::string render_listing_html(std::string_view path, const Listing& listing) {
  std::string out = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>";
  append_html(out, path);
  out += "</title>\n<h1>";
  append_html(out, path);
  out += "</h1>\n<ul>\n<li><a href=\"../\">../</a></li>\n";
  for (const ListedName& n : listing.names) {
    const std::string_view slash = n.directory ? "/" : "";
    out += "<li><a href=\"./";
    append_segment(out, n.name);
    out += slash;
    out += "\">";
    append_html(out, n.name);
    out += slash;
    out += "</a> " + (n.directory ? std::string() : std::to_string(n.size) + " ") + timestamp(n.mtime) + "</li>\n";
  }
  out += "</ul>\n";
  if (listing.cut) out += "<p>There are more than these " + std::to_string(listing.names.size()) + " names.</p>\n";
  return out + "</html>\n";
}

std::string render_listing_json(const Listing& listing) {
  std::string out = "[";
  for (const ListedName& n : listing.names) {
    out += out.size() == 1 ? "\n{\"name\":" : ",\n{\"name\":";
    append_json_string(out, n.name);
    out += n.directory ? ",\"type\":\"directory\"" : ",\"type\":\"file\",\"size\":" + std::to_string(n.size);
    out += ",\"modified\":\"" + timestamp(n.mtime) + "\"}";
  }
  return out + "\n]\n";
}

}  // namespace fiberd::http

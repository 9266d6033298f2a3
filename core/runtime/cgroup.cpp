#include "core/runtime/cgroup.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/debug_setting.hpp"
#include "core/base/log.hpp"

namespace fiberd::runtime {
namespace {

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t at = text.find(separator);
    parts.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

bool lists(std::string_view comma_list, std::string_view wanted) {
  const auto parts = split(comma_list, ',');
  return std::find(parts.begin(), parts.end(), wanted) != parts.end();
}

// The kernel writes space, tab, newline and backslash in mountinfo as \ooo.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 4, value, 8).ptr == text.data() + i + 4 && value < 256) {
      out.push_back(static_cast<char>(value));
      i += 3;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

struct Membership {
  int version = 0;
  std::string path;
};

/// A file that is not there is usual: a root group has no limits.
std::ifstream open_file(const std::string& path, bool& unsure) {
  errno = 0;
  std::ifstream in(path);
  if (!in && (errno == EMFILE || errno == ENFILE)) unsure = true;
  return in;
}

std::optional<Membership> membership(const CgroupPaths& paths, std::string_view controller, bool& unsure) {
  std::ifstream in = open_file(paths.proc_self + "/cgroup", unsure);
  std::optional<Membership> found;
  for (std::string line; std::getline(in, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string_view controllers = std::string_view(line).substr(first + 1, second - first - 1);
    if (lists(controllers, controller)) return Membership{1, line.substr(second + 1)};
    if (controllers.empty() && line.compare(0, first, "0") == 0) found = Membership{2, line.substr(second + 1)};
  }
  return found;
}

/// The file's first line; nullopt when there is none.
std::optional<std::string> first_line(const std::string& path, bool& unsure) {
  std::ifstream in = open_file(path, unsure);
  std::string line;
  if (!in || !std::getline(in, line)) return std::nullopt;
  return line;
}

template <class T>
std::optional<T> number(std::string_view text, const std::string& file, bool quiet) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end == text.data() + text.size()) return value;
  if (!quiet)
    log(LogLevel::warning, "cgroup: \"" + std::string(text) + "\" in " + file + " is not a number; it is passed over");
  return std::nullopt;
}

std::optional<double> quota_at(int version, const std::string& directory, bool quiet, bool& unsure) {
  std::optional<std::int64_t> quota;
  std::optional<std::int64_t> period;
  if (version == 2) {
    const std::string file = directory + "/cpu.max";
    const auto line = first_line(file, unsure);
    if (!line) return std::nullopt;
    const auto parts = split(*line, ' ');
    if (parts[0] == "max") return std::nullopt;
    quota = number<std::int64_t>(parts[0], file, quiet);
    period = parts.size() > 1 ? number<std::int64_t>(parts[1], file, quiet) : std::optional<std::int64_t>(100'000);
  } else {
    const std::string quota_file = directory + "/cpu.cfs_quota_us";
    const std::string period_file = directory + "/cpu.cfs_period_us";
    const auto quota_line = first_line(quota_file, unsure);
    const auto period_line = first_line(period_file, unsure);
    if (!quota_line || !period_line) return std::nullopt;
    quota = number<std::int64_t>(*quota_line, quota_file, quiet);
    period = number<std::int64_t>(*period_line, period_file, quiet);
  }
  if (!quota || !period || *quota <= 0 || *period <= 0) return std::nullopt;  // -1: no quota
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

}  // namespace

CgroupPaths this_cgroup_paths() {
  CgroupPaths paths;
  if (const auto directory = debug_setting("cgroup"); directory && !directory->empty()) {
    paths.proc_self = std::string(*directory) + "/proc";
    paths.root = std::string(*directory) + "/root";
  }
  return paths;
}

std::vector<std::string> Cgroup::directories() const {
  std::vector<std::string> all{directory};
  while (all.back().size() > mount.size()) {
    const std::string& last = all.back();
    all.push_back(last.substr(0, std::max(last.find_last_of('/'), mount.size())));
  }
  return all;
}

std::optional<Cgroup> find_cgroup(std::string_view controller, const CgroupPaths& paths, bool& unsure) {
  unsure = false;
  const std::optional<Membership> member = membership(paths, controller, unsure);
  if (!member) return std::nullopt;
  // A hierarchy may be mounted several times, and a part of it elsewhere. The first mount that holds our group counts;
  // where none does (a namespace of its own, whose paths lead out of it) the first of all.
  std::optional<Cgroup> found;
  std::ifstream in = open_file(paths.proc_self + "/mountinfo", unsure);
  for (std::string line; std::getline(in, line);) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const auto before = split(std::string_view(line).substr(0, dash), ' ');
    const auto after = split(std::string_view(line).substr(dash + 3), ' ');
    if (before.size() < 5 || after.size() < 3) continue;
    if (member->version == 2 ? after[0] != "cgroup2" : after[0] != "cgroup" || !lists(after[2], controller)) continue;
    const std::string root = unescape(before[3]);
    Cgroup group{member->version, paths.root + unescape(before[4]), {}};
    group.directory = group.mount;
    const std::string prefix = root == "/" ? "" : root;
    const std::string& path = member->path;
    const bool below = path.compare(0, prefix.size(), prefix) == 0 &&
                       (path.size() == prefix.size() || path[prefix.size()] == '/') &&
                       (path + '/').find("/../") == std::string::npos;
    if (!below) {
      if (!found) found = std::move(group);
      continue;
    }
    group.directory += path.substr(prefix.size());
    while (group.directory.size() > group.mount.size() && group.directory.back() == '/') group.directory.pop_back();
    return group;
  }
  return found;
}

std::optional<double> cgroup_cpu_quota(const CgroupPaths& paths, bool& unsure) {
  const std::optional<Cgroup> group = find_cgroup("cpu", paths, unsure);
  if (!group) return std::nullopt;
  std::optional<double> least;
  for (const std::string& directory : group->directories())
    if (const auto quota = quota_at(group->version, directory, paths.quiet, unsure);
        quota && (!least || *quota < *least))
      least = quota;
  return least;
}

std::optional<double> cgroup_cpu_quota(const CgroupPaths& paths) {
  bool unsure = false;
  return cgroup_cpu_quota(paths, unsure);
}

}  // namespace fiberd::runtime

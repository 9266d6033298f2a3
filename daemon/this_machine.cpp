#include "daemon/this_machine.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <vector>

namespace fiberd::daemon {

namespace {

namespace fs = std::filesystem;

std::error_code last_error() noexcept { return {errno, std::system_category()}; }
std::error_code system_error_of(int number) noexcept { return {number, std::system_category()}; }

fs::path directory_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

/// Whether a file may be made there.
std::error_code why_no_new_file(const fs::path& path) {
  const fs::path directory = directory_of(path);
  struct stat st {};
  if (::stat(directory.c_str(), &st) != 0) return last_error();
  if (!S_ISDIR(st.st_mode)) return system_error_of(ENOTDIR);
  return ::faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) == 0 ? std::error_code() : last_error();
}

/// Of a link that leads to nothing open(2) makes what it leads to.
fs::path end_of_links(fs::path path) {
  static constexpr int kMost = 40;  // as the kernel
  std::error_code error;
  for (int i = 0; i < kMost && fs::is_symlink(fs::symlink_status(path, error)); ++i) {
    const fs::path target = fs::read_symlink(path, error);
    if (error) break;
    path = target.is_absolute() ? target : directory_of(path) / target;
  }
  return path;
}

/// One of the process's effective capabilities.
bool has_capability(unsigned number) {
  std::ifstream in("/proc/self/status");
  static constexpr std::string_view kName = "CapEff:";
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(kName)) return (std::strtoull(line.c_str() + kName.size(), nullptr, 16) >> number & 1U) != 0;
  return ::geteuid() == 0;
}

unsigned first_unprivileged_port() {
  unsigned port = 1024;
  std::ifstream("/proc/sys/net/ipv4/ip_unprivileged_port_start") >> port;
  return port;
}

/// Binds to the address with a port of the kernel's choice, which nobody knows, for as long as it takes to ask.
std::error_code try_address(net::Endpoint endpoint, int type) {
  endpoint.set_port(0);
  const int fd = ::socket(endpoint.family(), type | SOCK_CLOEXEC, 0);
  if (fd < 0) return last_error();
  const std::error_code error = ::bind(fd, endpoint.data(), endpoint.size()) == 0 ? std::error_code() : last_error();
  ::close(fd);
  return error == std::errc::address_in_use ? std::error_code() : error;
}

bool is_own_group(std::uint32_t group) {
  if (group == ::getegid()) return true;
  const int count = ::getgroups(0, nullptr);
  std::vector<gid_t> groups(static_cast<std::size_t>(std::max(count, 0)));
  if (::getgroups(count, groups.data()) < 0) return false;
  return std::find(groups.begin(), groups.end(), group) != groups.end();
}

Obstacle why_no_unix_socket(const std::string& path, const FileOwner& owner) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) == 0) {
    // A stale socket is replaced, and whether one is live is another process's matter.
    if (!S_ISSOCK(st.st_mode)) return {system_error_of(EEXIST), "there is something that is no socket"};
  } else if (errno != ENOENT) {
    return {last_error(), ""};
  }
  if (const std::error_code error = why_no_new_file(path)) return {error, directory_of(path).string()};
  if ((owner.user || owner.group) && !has_capability(CAP_CHOWN)) {
    if (owner.user && *owner.user != ::geteuid()) return {system_error_of(EPERM), "owner: only root gives files away"};
    if (owner.group && !is_own_group(*owner.group)) return {system_error_of(EPERM), "owner: a group that is not ours"};
  }
  return {};
}

}  // namespace

bool find_owner(const std::string& text, FileOwner& owner, std::string& error) {
  if (text.empty()) return true;
  const std::size_t colon = text.find(':');
  const std::string user = text.substr(0, colon);
  const passwd* const p = user.empty() ? nullptr : ::getpwnam(user.c_str());
  if (p != nullptr) {
    owner.user = p->pw_uid;
  } else if (!user.empty()) {
    return error = "no user " + user, false;
  }
  if (colon == std::string::npos) return true;
  if (colon + 1 == text.size()) {  // "root:", as chown(1) has it
    if (p == nullptr) return error = "neither user nor group in \":\"", false;
    owner.group = p->pw_gid;
    return true;
  }
  const std::string name = text.substr(colon + 1);
  const group* const g = ::getgrnam(name.c_str());
  if (g == nullptr) return error = "no group " + name, false;
  owner.group = g->gr_gid;
  return true;
}

std::string Obstacle::to_string() const {
  std::string text = error.message();
  if (what.empty()) return text;
  text += " (" + what + ")";
  return error == std::errc::no_such_file_or_directory ? text + "; make the directory" : text;
}

Obstacle why_not_appendable(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) {
    if (errno != ENOENT) return {last_error()};
    const fs::path file = end_of_links(path);
    if (const std::error_code error = why_no_new_file(file)) return {error, directory_of(file).string()};
    return {};
  }
  if (S_ISDIR(st.st_mode)) return {system_error_of(EISDIR)};
  if (S_ISSOCK(st.st_mode)) return {system_error_of(ENXIO)};
  // Opening a device, or a FIFO, may do something; a file stays as it is.
  if (!S_ISREG(st.st_mode)) {
    if (::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) != 0) return {last_error()};
    return {};
  }
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd < 0) return {last_error()};
  ::close(fd);
  return {};
}

Obstacle why_not_bindable(const net::Endpoint& endpoint, bool tcp, bool udp, const FileOwner& owner) {
  if (endpoint.family() == AF_UNIX) return why_no_unix_socket(std::string(endpoint.path()), owner);
  for (const auto& [wanted, type] : {std::pair(tcp, SOCK_STREAM), std::pair(udp, SOCK_DGRAM)})
    if (wanted)
      if (const std::error_code error = try_address(endpoint, type)) return {error, ""};
  if (endpoint.port() != 0 && endpoint.port() < first_unprivileged_port() && !has_capability(CAP_NET_BIND_SERVICE))
    return {system_error_of(EACCES), "a port below " + std::to_string(first_unprivileged_port()) +
                                         ": it needs the capability CAP_NET_BIND_SERVICE (of systemd's units "
                                         "AmbientCapabilities=), or a lower net.ipv4.ip_unprivileged_port_start"};
  return {};
}

std::string identity_of(const std::string& path) {
  struct stat st {};
  const fs::path file(path);
  if (::stat(directory_of(file).c_str(), &st) != 0) return {};
  return std::to_string(st.st_dev) + ":" + std::to_string(st.st_ino) + "/" + file.filename().string();
}

}  // namespace fiberd::daemon

// How a listener's socket comes to be: options, binding, the file of a Unix socket, and what of it can be changed while
// it is listened on.
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "core/net/listener.hpp"
#include "core/net/listener_socket.hpp"
#include "core/net/system_calls.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::net {

static constexpr int kUnsent = 128 * 1024;

/// The kernel doubles a process's table of descriptors as they come, and each time all threads that open one wait for
/// an RCU grace period: 10 to 20 ms, just when a crowd arrives. So it is grown before anybody is served.
void Listener::grow_descriptor_table(int fd) const noexcept {
  static constexpr std::size_t kOthers = 256;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == 0) return;
  const auto last = std::min<rlim_t>({options_.connections + kOthers, limit.rlim_cur - 1, INT32_MAX});
  // That this number, or none above it, is free means nothing: then the table is as large already.
  if (const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, static_cast<int>(last)); copy >= 0) ::close(copy);
}

static std::error_code from_errno(int negative) noexcept { return {-negative, std::system_category()}; }

/// A socket file that nobody listens on is left over from a crash: it is replaced. One that answers is in use.
std::error_code Listener::prepare_unix_path(const Endpoint& endpoint) {
  const std::string path(endpoint.path());
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) return {};
  if (!S_ISSOCK(st.st_mode)) return std::make_error_code(std::errc::file_exists);
  const int probe = sys::socket(AF_UNIX, SOCK_STREAM, 0);
  if (probe < 0) return from_errno(probe);
  const int r = sys::connect(probe, endpoint.data(), endpoint.size());
  sys::close(probe);
  if (r != -ECONNREFUSED) return std::make_error_code(std::errc::address_in_use);
  if (::unlink(path.c_str()) != 0) return {errno, std::system_category()};
  return {};
}

/// Before listen(2): nobody may connect while the file has another mode or owner than it shall have.
std::error_code Listener::finish_unix_path(const Endpoint& endpoint) {
  const std::string path(endpoint.path());
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) return {errno, std::system_category()};
  path_inode_ = st.st_ino;
  path_device_ = st.st_dev;
  return set_access(path);
}

std::error_code Listener::set_access(const std::string& path) {
  // What the umask took away.
  if (::chmod(path.c_str(), options_.mode) != 0) return {errno, std::system_category()};
  if ((options_.owner || options_.group) && ::chown(path.c_str(), options_.owner.value_or(static_cast<uid_t>(-1)),
                                                    options_.group.value_or(static_cast<gid_t>(-1))) != 0)
    return {errno, std::system_category()};
  return {};
}

int Listener::set_inherited_options(int fd) const noexcept {
  // Accepted sockets inherit it: no setsockopt per connection. Answers must never wait for an acknowledgement.
  const int r = sys::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  // And a client that does not read must not make the kernel hold megabytes for it. What is not sent yet is all this
  // bounds, so a fast one is as fast as before (300 slow readers of a large file: 1.1 GB of kernel memory, 55 MB so).
  return r < 0 ? r : sys::setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, kUnsent);
}

Result<int> Listener::open_socket(const Endpoint& endpoint, bool join_group) {
  const bool tcp = endpoint.family() != AF_UNIX;
  const int fd = sys::socket(endpoint.family(), SOCK_STREAM, 0);
  if (fd < 0) return fail_errno(fd);
  int r = 0;
  if (tcp) r = sys::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (r == 0 && endpoint.family() == AF_INET6)
    r = sys::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, options_.dual_stack ? 0 : 1);
  if (r == 0 && join_group) r = sys::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  // Linux makes the file with the socket's own mode, less the umask.
  if (!tcp && ::fchmod(fd, options_.mode) != 0) r = -errno;
  if (r == 0) r = sys::bind(fd, endpoint.data(), endpoint.size());
  if (r == 0 && !tcp)
    if (const std::error_code error = finish_unix_path(endpoint)) r = -error.value();
  // The first socket of a group is bound alone, so that a port somebody else has is an error; then it opens the group.
  if (r == 0 && options_.reuse_port && tcp && !join_group) r = sys::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  if (r == 0 && tcp) r = set_inherited_options(fd);
  // And one that has vanished (power, cable, a firewall that forgot it) must not stay for ever.
  if (r == 0 && tcp) r = set_keep_alive(fd, options_.keep_alive);
  if (r == 0 && tcp && options_.defer_accept) r = sys::setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
  if (r == 0) r = sys::listen(fd, options_.backlog);
  if (r == 0) return fd;
  sys::close(fd);
  return fail_errno(r);
}

Result<std::unique_ptr<Listener>> Listener::bind(runtime::Runtime& runtime, const Endpoint& endpoint,
                                                 ListenerOptions options) {
  if (endpoint.family() == AF_UNSPEC) return fail(std::errc::invalid_argument);
  const bool unix_socket = endpoint.family() == AF_UNIX;
  std::unique_ptr<Listener> l(new Listener(runtime, std::move(options), unix_socket));
  if (unix_socket)
    if (const std::error_code error = l->prepare_unix_path(endpoint)) return fail(error);
  if (unix_socket) l->local_ = endpoint;
  const Result<int> first = l->open_socket(endpoint, false);
  if (!first) return fail(first.error());
  l->grow_descriptor_table(*first);
  l->sockets_.push_back(std::make_unique<Socket>(*l, *first));
  if (unix_socket) return l;
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (const int r = sys::getsockname(*first, reinterpret_cast<sockaddr*>(&address), &size); r < 0) return fail_errno(r);
  l->local_ = Endpoint::from(reinterpret_cast<const sockaddr*>(&address), size);
  for (unsigned i = 1; l->options_.reuse_port && i < runtime.gomaxprocs(); ++i) {
    const Result<int> sibling = l->open_socket(l->local_, true);
    if (!sibling) return fail(sibling.error());
    l->sockets_.push_back(std::make_unique<Socket>(*l, *sibling));
  }
  return l;
}

Result<void> Listener::change(const SocketSettings& settings) {
  std::error_code error;
  const auto note = [&](std::error_code e) { error = error ? error : e; };
  options_.backlog = settings.backlog;
  options_.keep_alive = settings.keep_alive;
  options_.defer_accept = settings.defer_accept;
  if (local_.family() == AF_UNIX) {
    options_.mode = settings.mode;
    options_.owner = settings.owner;
    options_.group = settings.group;
    if (!foreign_ && path_is_ours()) note(set_access(std::string(local_.path())));
  }
  for (auto& socket : sockets_) {
    if (local_.family() != AF_UNIX) {
      note(from_errno(set_keep_alive(socket->fd, settings.keep_alive)));
      note(from_errno(sys::setsockopt(socket->fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, settings.defer_accept ? 1 : 0)));
    }
    // For one that listens it only sets the queue's length.
    note(from_errno(sys::listen(socket->fd, settings.backlog)));
  }
  if (error) return fail(error);
  return {};
}

bool Listener::path_is_ours() const noexcept {
  struct stat st {};
  return ::lstat(std::string(local_.path()).c_str(), &st) == 0 && st.st_ino == path_inode_ && st.st_dev == path_device_;
}

void Listener::remove_unix_path() noexcept {
  if (path_is_ours()) ::unlink(std::string(local_.path()).c_str());
}

}  // namespace fiberd::net

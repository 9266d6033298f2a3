// A listener on sockets that others have bound: a service manager, or the process that served before.
//
// Such a socket may outlive us: who else has it goes on with it, with its queue, its filter and its file, all of which
// are the socket's and not a process's. So while it is shared, stop() takes who is in the queue and leaves the rest
// alone: a filter would turn away the clients of whoever comes next, and an unlinked file would hide him. And one that
// has not served by it yet changes nothing of it (apply()), nor takes anybody out of its queue.
#include <sys/stat.h>

#include <cerrno>
#include <string>
#include <utility>

#include "core/net/listener.hpp"
#include "core/net/listener_socket.hpp"
#include "core/net/system_calls.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::net {

Result<std::unique_ptr<Listener>> Listener::adopt(runtime::Runtime& runtime, const std::vector<int>& descriptors,
                                                  ListenerOptions options, Keeper keeper, bool foreign, bool in_use) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  int r = descriptors.empty() ? -EBADF
                              : sys::getsockname(descriptors.front(), reinterpret_cast<sockaddr*>(&address), &size);
  const Endpoint local = r < 0 ? Endpoint() : Endpoint::from(reinterpret_cast<const sockaddr*>(&address), size);
  const bool unix_socket = local.family() == AF_UNIX;
  if (r == 0 && local.family() == AF_UNSPEC) r = -EAFNOSUPPORT;
  std::unique_ptr<Listener> l(new Listener(runtime, std::move(options), unix_socket));
  l->local_ = local;
  l->keeper_.store(keeper);
  l->foreign_ = foreign;
  for (const int fd : descriptors) {
    l->sockets_.push_back(std::make_unique<Socket>(*l, fd));  // theirs from here: they are closed with it
    if (r == 0) r = sys::make_own(fd);
  }
  if (r < 0) return fail_errno(r);
  if (unix_socket) {
    struct stat st {};
    if (::lstat(std::string(local.path()).c_str(), &st) == 0 && S_ISSOCK(st.st_mode)) {
      l->path_inode_ = st.st_ino;
      l->path_device_ = st.st_dev;
    }
  }
  l->grow_descriptor_table(descriptors.front());
  if (in_use) return l;
  if (const Result<void> set = l->apply(); !set) return fail(set.error());
  return l;
}

Result<void> Listener::apply() {
  const Result<void> changed = change({.backlog = options_.backlog,
                                       .keep_alive = options_.keep_alive,
                                       .defer_accept = options_.defer_accept,
                                       .mode = options_.mode,
                                       .owner = options_.owner,
                                       .group = options_.group});
  if (local_.family() == AF_UNIX) return changed;
  for (const auto& socket : sockets_)
    if (const int r = set_inherited_options(socket->fd); r < 0 && changed) return fail_errno(r);
  return changed;
}

std::vector<int> Listener::descriptors() const {
  std::vector<int> all;
  all.reserve(sockets_.size());
  for (const auto& socket : sockets_) all.push_back(socket->fd);
  return all;
}

}  // namespace fiberd::net

// close() of a listening socket resets every connection in its queues. Accepting until EAGAIN empties one of them; the
// other holds the handshakes: clients for whom connect() has returned, perhaps with a request on the wire, though
// accept knows nothing of them yet. TCP_DEFER_ACCEPT makes that the usual state of a new connection. So a listener that
// stops first lets no new handshake begin, accepts until none is left, and closes then. Rejected: a fixed pause before
// close (too long for most, too short for some); shutdown(2) on the listening socket (resets both queues); leaving the
// socket open without epoll (the kernel goes on completing handshakes that nobody will answer).
#include "core/net/handshakes.hpp"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/net/system_calls.hpp"

namespace fiberd::net {

std::error_code refuse_new_handshakes(int fd) noexcept {
  // Offsets count from the TCP header; byte 13 holds the flags.
  static constexpr std::uint8_t kSyn = 0x02;
  static constexpr std::uint8_t kAck = 0x10;
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),          BPF_STMT(BPF_ALU | BPF_AND | BPF_K, kSyn | kAck),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kSyn, 0, 1), BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
  };
  const sock_fprog program{static_cast<unsigned short>(std::size(code)), code};
  return ::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0
             ? std::error_code{}
             : std::error_code{errno, std::system_category()};
}

/// Adds what one netlink datagram tells; true when it was the last.
static Result<bool> count_messages(const char* data, std::size_t size, std::uint16_t port, unsigned& found) noexcept {
  while (size >= sizeof(nlmsghdr)) {
    nlmsghdr header;
    std::memcpy(&header, data, sizeof header);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > size) return fail(std::errc::bad_message);
    if (header.nlmsg_type == NLMSG_DONE) return true;
    if (header.nlmsg_type == NLMSG_ERROR) {
      nlmsgerr error;
      if (header.nlmsg_len < sizeof header + sizeof error) return fail(std::errc::bad_message);
      std::memcpy(&error, data + sizeof header, sizeof error);
      if (error.error == 0) return true;
      return fail_errno(error.error);
    }
    if (header.nlmsg_type == SOCK_DIAG_BY_FAMILY && header.nlmsg_len >= sizeof header + sizeof(inet_diag_msg)) {
      inet_diag_msg message;
      std::memcpy(&message, data + sizeof header, sizeof message);
      if (ntohs(message.id.idiag_sport) == port) ++found;
    }
    const std::size_t step = std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), size);
    data += step;
    size -= step;
  }
  return false;
}

static Result<unsigned> count_family(int fd, std::uint8_t family, std::uint16_t port, unsigned most) noexcept {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } ask{};
  ask.header.nlmsg_len = sizeof ask;
  ask.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  ask.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  ask.request.sdiag_family = family;
  ask.request.sdiag_protocol = IPPROTO_TCP;
  ask.request.idiag_states = 1U << static_cast<unsigned>(TCP_SYN_RECV);
  ask.request.id.idiag_sport = htons(port);
  if (::send(fd, &ask, sizeof ask, 0) < 0) return fail(std::error_code(errno, std::system_category()));
  unsigned found = 0;
  for (;;) {
    alignas(nlmsghdr) char answer[16 * 1024];
    const ssize_t n = ::recv(fd, answer, sizeof answer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(std::error_code(errno, std::system_category()));
    const Result<bool> last = count_messages(answer, static_cast<std::size_t>(n), port, found);
    if (!last) return fail(last.error());
    // The caller closes the socket, so the rest need not be read.
    if (*last || found >= most) return std::min(found, most);
  }
}

Result<unsigned> pending_handshakes(std::uint16_t port, unsigned most) noexcept {
  unsigned found = 0;
  for (const std::uint8_t family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}}) {
    const int fd = ::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0) return fail(std::error_code(errno, std::system_category()));
    const Result<unsigned> n = count_family(fd, family, port, most);
    sys::close(fd);
    if (!n) return n;
    found += *n;
    if (found >= most) return most;
  }
  return found;
}

}  // namespace fiberd::net

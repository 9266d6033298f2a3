// One c-ares channel per look-up: look-ups share nothing, and giving one up is destroying its channel, at once and with
// its sockets. A channel for all would need a lock held across c-ares's calls and a fiber that drives it for the
// others. What it costs: /etc/resolv.conf is read anew each time (and so is always current). That, and /etc/hosts, are
// read on the blocking pool.
//
// A look-up may have several sockets (servers, retries over TCP), a fiber waits for one descriptor. So the sockets hang
// in an epoll instance of the look-up's own, level-triggered, and the fiber waits for that one to become readable: an
// epoll descriptor can itself be polled. The loop takes events until there are none before it waits again, so the
// edge by which the Poller tells about the inner instance is never one that was already used.
#include "core/net/resolver.hpp"

#include <ares.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <sys/epoll.h>
#include <sys/time.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "core/context/waits.hpp"
#include "core/net/system_calls.hpp"
#include "core/runtime/blocking.hpp"
#include "core/runtime/poll_descriptor.hpp"

namespace fiberd::net {

static constexpr std::size_t kMaxAddresses = 256;

namespace {

class ResolveCategory final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "resolve"; }
  [[nodiscard]] std::string message(int code) const override {
    switch (static_cast<ResolveErrc>(code)) {
      case ResolveErrc::not_found: return "no such host name";
      case ResolveErrc::no_address: return "the host name has no address of this kind";
      case ResolveErrc::bad_name: return "not a host name";
      case ResolveErrc::server_failure:
        return "no name server answered the question: they failed, refused or are not there";
      case ResolveErrc::bad_response: return "the name server's response is malformed";
      case ResolveErrc::failed: break;
    }
    return "the name could not be looked up";
  }
};

std::error_code resolve_error(int status) noexcept {
  switch (status) {
    case ARES_SUCCESS: return {};
    case ARES_ENOTFOUND: return ResolveErrc::not_found;
    case ARES_ENODATA: return ResolveErrc::no_address;
    case ARES_EBADNAME:
    case ARES_EBADQUERY:
    case ARES_EBADSTR: return ResolveErrc::bad_name;
    case ARES_ECONNREFUSED:  // also what c-ares says after the last server's SERVFAIL: it cannot be told apart
    case ARES_ESERVFAIL:
    case ARES_ENOTIMP:
    case ARES_EREFUSED: return ResolveErrc::server_failure;
    case ARES_EFORMERR:
    case ARES_EBADRESP: return ResolveErrc::bad_response;
    case ARES_ETIMEOUT: return std::make_error_code(std::errc::timed_out);
    case ARES_ENOMEM: return std::make_error_code(std::errc::not_enough_memory);
    default: return ResolveErrc::failed;
  }
}

// Leaf functions: no errno in a function that parks (system_calls.hpp).
[[gnu::noinline]] int epoll_make() noexcept {
  const int fd = ::epoll_create1(EPOLL_CLOEXEC);
  return fd < 0 ? -errno : fd;
}
[[gnu::noinline]] int epoll_change(int epoll, int operation, int fd, std::uint32_t mask) noexcept {
  epoll_event event{};
  event.events = mask;
  event.data.fd = fd;
  return ::epoll_ctl(epoll, operation, fd, &event) < 0 ? -errno : 0;
}
[[gnu::noinline]] int epoll_take(int epoll, epoll_event* events, int size) noexcept {
  const int n = ::epoll_wait(epoll, events, size, 0);
  return n < 0 ? -errno : n;
}

class Lookup {
 public:
  Lookup(const ResolverOptions& options, std::string host, std::uint16_t port, AddressFamily family)
      : options_(options), host_(std::move(host)), port_(port), family_(family) {}
  ~Lookup() {
    // Its callback still comes, as "destroyed", and the sockets are closed: both find this object whole.
    if (channel_ != nullptr) ares_destroy(channel_);
    if (descriptor_ != nullptr) descriptor_->close();
    if (epoll_ >= 0) sys::close(epoll_);
  }
  Lookup(const Lookup&) = delete;
  Lookup& operator=(const Lookup&) = delete;

  /// Reads the configuration and the hosts file, and sends the first questions. Blocks on files.
  void start() noexcept;
  /// Waits for the answer.
  std::error_code drive(Deadline deadline, runtime::Cancellation* cancellation) noexcept;
  std::vector<Endpoint> take() noexcept { return std::move(addresses_); }

 private:
  void finish(std::error_code error) noexcept {
    if (done_) return;
    error_ = error;
    done_ = true;
  }
  [[nodiscard]] int set_servers() noexcept;
  static void on_socket(void* self, ares_socket_t fd, int readable, int writable) noexcept;
  static void on_answer(void* self, int status, int timeouts, ares_addrinfo* answer) noexcept;

  ResolverOptions options_;
  std::string host_;
  std::uint16_t port_;
  AddressFamily family_;
  ares_channel channel_ = nullptr;
  int epoll_ = -1;
  runtime::PollDescriptor* descriptor_ = nullptr;
  bool done_ = false;
  std::error_code error_;
  std::vector<Endpoint> addresses_;
};

void Lookup::on_socket(void* argument, ares_socket_t fd, int readable, int writable) noexcept {
  auto& self = *static_cast<Lookup*>(argument);
  if (self.epoll_ < 0) {
    self.epoll_ = epoll_make();
    if (self.epoll_ < 0) {
      self.finish({-self.epoll_, std::system_category()});
      return;
    }
  }
  const std::uint32_t mask =
      (readable != 0 ? std::uint32_t{EPOLLIN} : 0U) | (writable != 0 ? std::uint32_t{EPOLLOUT} : 0U);
  if (mask == 0) {
    (void)epoll_change(self.epoll_, EPOLL_CTL_DEL, fd, 0);  // it is closed next
    return;
  }
  int r = epoll_change(self.epoll_, EPOLL_CTL_MOD, fd, mask);
  if (r == -ENOENT) r = epoll_change(self.epoll_, EPOLL_CTL_ADD, fd, mask);
  if (r < 0) self.finish({-r, std::system_category()});
}

void Lookup::on_answer(void* argument, int status, int /*timeouts*/, ares_addrinfo* answer) noexcept {
  auto& self = *static_cast<Lookup*>(argument);
  if (status == ARES_SUCCESS && !self.done_) {
    try {
      for (const ares_addrinfo_node* n = answer->nodes; n != nullptr && self.addresses_.size() < kMaxAddresses;
           n = n->ai_next) {
        if (n->ai_family != AF_INET && n->ai_family != AF_INET6) continue;
        Endpoint e = Endpoint::from(n->ai_addr, n->ai_addrlen);
        e.set_port(self.port_);
        self.addresses_.push_back(e);
      }
      self.finish(self.addresses_.empty() ? make_error_code(ResolveErrc::no_address) : std::error_code{});
    } catch (const std::bad_alloc&) {
      self.finish(std::make_error_code(std::errc::not_enough_memory));
    }
  } else {
    self.finish(resolve_error(status));
  }
  if (answer != nullptr) ares_freeaddrinfo(answer);
}

int Lookup::set_servers() noexcept {
  if (options_.servers.empty()) return ARES_SUCCESS;
  std::vector<ares_addr_port_node> nodes(options_.servers.size());
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const Endpoint& e = options_.servers[i];
    ares_addr_port_node& n = nodes[i];
    n.next = i + 1 < nodes.size() ? &nodes[i + 1] : nullptr;
    n.family = e.family();
    n.udp_port = n.tcp_port = e.port();
    if (e.family() == AF_INET)
      n.addr.addr4 = reinterpret_cast<const sockaddr_in*>(e.data())->sin_addr;
    else if (e.family() == AF_INET6)
      std::copy_n(reinterpret_cast<const sockaddr_in6*>(e.data())->sin6_addr.s6_addr, sizeof n.addr.addr6._S6_un._S6_u8,
                  n.addr.addr6._S6_un._S6_u8);
    else
      return ARES_EBADFAMILY;
  }
  return ares_set_servers_ports(channel_, nodes.data());
}

void Lookup::start() noexcept {
  static const int library = ares_library_init(ARES_LIB_INIT_ALL);
  int status = library;
  if (status == ARES_SUCCESS) {
    ares_options o{};
    o.timeout = static_cast<int>(std::clamp<std::int64_t>(options_.timeout.count(), 1, 60'000));
    o.tries = std::clamp(options_.tries, 1, 10);
    char lookups[] = "fb";  // files before DNS, whatever nsswitch.conf says about services that are not here
    o.lookups = lookups;
    o.sock_state_cb = &Lookup::on_socket;
    o.sock_state_cb_data = this;
    status = ares_init_options(&channel_, &o,
                               ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS) channel_ = nullptr;
  }
  if (status == ARES_SUCCESS) status = set_servers();
  if (status != ARES_SUCCESS) {
    finish(resolve_error(status));
    return;
  }
  ares_addrinfo_hints hints{};
  hints.ai_family = family_ == AddressFamily::v4 ? AF_INET : family_ == AddressFamily::v6 ? AF_INET6 : AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  ares_getaddrinfo(channel_, host_.c_str(), nullptr, &hints, &Lookup::on_answer, this);
}

std::error_code Lookup::drive(Deadline deadline, runtime::Cancellation* cancellation) noexcept {
  while (!done_) {
    epoll_event events[8];
    const int n = epoll_ >= 0 ? epoll_take(epoll_, events, 8) : 0;
    if (n < 0 && n != -EINTR) return {-n, std::system_category()};
    for (int i = 0; i < n && !done_; ++i) {
      const epoll_event& e = events[i];
      const bool broken = (e.events & (EPOLLERR | EPOLLHUP)) != 0;
      ares_process_fd(channel_, (e.events & EPOLLIN) != 0 || broken ? e.data.fd : ARES_SOCKET_BAD,
                      (e.events & EPOLLOUT) != 0 ? e.data.fd : ARES_SOCKET_BAD);
    }
    if (n != 0 || done_) continue;

    // Until an answer, c-ares's own time-out, or the caller's.
    timeval tv{};
    const timeval* const next = ares_timeout(channel_, nullptr, &tv);
    Deadline until = deadline;
    if (next != nullptr)  // rounded up: c-ares's clock counts microseconds
      until = until.earlier(Deadline::in(std::chrono::seconds(next->tv_sec) + std::chrono::microseconds(next->tv_usec) +
                                         std::chrono::milliseconds(1)));
    if (epoll_ < 0) return ResolveErrc::failed;  // nothing done and nothing to wait for
    if (descriptor_ == nullptr) {
      const Result<runtime::PollDescriptor*> opened = runtime::PollDescriptor::open(epoll_);
      if (!opened) return opened.error();
      descriptor_ = *opened;
    }
    const std::error_code error =
        error_of(descriptor_->wait(runtime::Direction::read, runtime::WaitReason::resolve, until, cancellation));
    if (error == std::errc::timed_out && until != deadline)
      ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    else if (error)
      return error;
  }
  return error_;
}

/// An address as it stands needs no question.
bool literal(std::string_view host, std::uint16_t port, AddressFamily family, Result<std::vector<Endpoint>>& result) {
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  if (host.size() >= INET6_ADDRSTRLEN) return false;
  const std::string text(host);
  in_addr v4{};
  in6_addr v6{};
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) {
    if (family == AddressFamily::v6)
      result = fail(make_error_code(ResolveErrc::no_address));
    else
      result = std::vector<Endpoint>{Endpoint::v4(ntohl(v4.s_addr), port)};
    return true;
  }
  if (inet_pton(AF_INET6, text.c_str(), &v6) == 1) {
    if (family == AddressFamily::v4)
      result = fail(make_error_code(ResolveErrc::no_address));
    else
      result = std::vector<Endpoint>{Endpoint::v6(v6, port)};
    return true;
  }
  return false;
}

}  // namespace

const std::error_category& resolve_category() noexcept {
  static const ResolveCategory category;
  return category;
}

Resolver::Resolver(ResolverOptions options) : options_(std::move(options)) {}

Result<std::vector<Endpoint>> Resolver::resolve(std::string_view host, std::uint16_t port, Deadline deadline,
                                                runtime::Cancellation* cancellation, AddressFamily family) const {
  if (cancellation != nullptr && cancellation->canceled()) return fail(std::errc::operation_canceled);
  if (runtime::past(deadline)) return fail(std::errc::timed_out);
  // RFC 1035 §2.3.4: 255 octets on the wire are at most 253 characters, and the dot that may end them.
  if (host.empty() || host.size() > 254 || host.find('\0') != std::string_view::npos)
    return fail(make_error_code(ResolveErrc::bad_name));
  Result<std::vector<Endpoint>> result;
  if (literal(host, port, family, result)) return result;

  // Shared with the pool: a look-up given up while it reads its files is dropped there.
  const auto lookup = std::make_shared<Lookup>(options_, std::string(host), port, family);
  if (const Result<void> started = runtime::try_blocking(deadline, cancellation, [lookup] { lookup->start(); });
      !started)
    return fail(started.error());
  if (const std::error_code error = lookup->drive(deadline, cancellation)) return fail(error);
  return lookup->take();
}

Result<std::vector<Endpoint>> Resolver::resolve(const context::Context& ctx, std::string_view host, std::uint16_t port,
                                                AddressFamily family, Deadline own) const {
  if (const std::error_code error = error_of(context::check(ctx))) return fail(error);
  Result<std::vector<Endpoint>> found = resolve(host, port, own.earlier(ctx.deadline()), ctx.wait_point(), family);
  if (!found) return fail(context::to_error(found.error(), ctx, own));
  return found;
}

}  // namespace fiberd::net

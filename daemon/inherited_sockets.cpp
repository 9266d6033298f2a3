#include "daemon/inherited_sockets.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <utility>
#include <variant>

#include "core/base/printable.hpp"
#include "daemon/socket_set.hpp"

namespace fiberd::daemon {

OwnedDescriptor& OwnedDescriptor::operator=(OwnedDescriptor&& o) noexcept {
  if (this == &o) return *this;
  if (fd_ >= 0) ::close(fd_);
  fd_ = o.release();
  return *this;
}
OwnedDescriptor::~OwnedDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}
int OwnedDescriptor::release() noexcept { return std::exchange(fd_, -1); }

namespace {

constexpr int kFirst = 3;  // SD_LISTEN_FDS_START
constexpr std::size_t kLongestName = 255;

int option(int fd, int which) noexcept {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, which, &value, &size) == 0 ? value : -1;
}

/// What the kernel says of it; `wrong` where no listener can have it.
void look_at(int fd, InheritedSocket& s) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    s.wrong = "is no socket: what a listener is given is a socket that listens";
    return;
  }
  s.local = net::Endpoint::from(reinterpret_cast<const sockaddr*>(&address), size);
  const int family = address.ss_family;
  const int type = option(fd, SO_TYPE);
  s.datagrams = type == SOCK_DGRAM;
  if (family == AF_UNIX && type != SOCK_STREAM)
    s.wrong = "is a Unix socket of another kind than a stream: ListenStream= in the socket's unit";
  else if (family == AF_UNIX && s.local.path().empty())
    s.wrong = "is a Unix socket without a path: abstract ones are not listened at";
  else if (family != AF_UNIX && family != AF_INET && family != AF_INET6)
    s.wrong = "is a socket of another family than IPv4, IPv6 and Unix";
  else if (type != SOCK_STREAM && type != SOCK_DGRAM)
    s.wrong = "is neither a TCP nor a UDP socket: ListenStream= or ListenDatagram= in the socket's unit";
  else if (type == SOCK_STREAM && option(fd, SO_ACCEPTCONN) != 1)
    s.wrong = "does not listen: it is a connection or was only bound; Accept=no in the socket's unit";
  else if (const int protocol = option(fd, SO_PROTOCOL);
           type == SOCK_STREAM && family != AF_UNIX && protocol != IPPROTO_TCP)
    s.wrong = "is a stream socket of another protocol than TCP";
}

std::string describe(int fd, const std::string& name) {
  return "descriptor " + std::to_string(fd) + (name.empty() ? "" : " (" + in_one_line(name) + ")");
}

std::vector<std::string> split(std::string_view text, char by) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t end = text.find(by);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

/// The variable's value, which then is not there any more.
std::string take_variable(const char* name) {
  const char* const value = std::getenv(name);
  std::string text = value != nullptr ? value : "";
  (void)::unsetenv(name);
  return text;
}

template <class Number>
bool parse_number(const std::string& text, Number& out) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, out);
  return error == std::errc() && stop == end && !text.empty();
}

/// Two names of one Unix socket's file: /var/run is /run, and systemd says the latter.
bool is_same_file(const std::string& a, const std::string& b) {
  static constexpr std::string_view kUnix = "unix:";
  if (!a.starts_with(kUnix) || !b.starts_with(kUnix)) return false;
  struct stat x {};
  struct stat y {};
  return ::stat(a.c_str() + kUnix.size(), &x) == 0 && ::stat(b.c_str() + kUnix.size(), &y) == 0 &&
         x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/// `place`: as the configuration has it.
bool stands_at(const net::Endpoint& local, const std::string& place) {
  const std::string at = local.to_string();
  return normal_address(place) == normal_address(at) || is_same_file(place, at);
}

const char* protocol_of(bool datagrams) { return datagrams ? "UDP" : "TCP"; }

}  // namespace

std::string stored_name(std::string_view listener, std::string_view address) {
  static constexpr std::array kHex{'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'};
  std::string text = std::string(listener) + "@";
  for (const char c : address) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > ' ' && byte < 0x7f && c != ':' && c != '%') {
      text += c;
      continue;
    }
    text += {'%', kHex[byte >> 4U], kHex[byte & 15U]};
  }
  return text.size() <= kLongestName ? text : std::string();
}

bool parse_stored_name(std::string_view text, std::string& listener, std::string& address) {
  const std::size_t at = text.find('@');
  if (at == 0 || at == std::string_view::npos || at + 1 == text.size()) return false;
  std::string decoded;
  for (std::size_t i = at + 1; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    unsigned char byte = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    if (digits.size() != 2 || std::from_chars(digits.data(), digits.data() + 2, byte, 16).ptr != digits.data() + 2)
      return false;
    decoded += static_cast<char>(byte);
    i += 2;
  }
  listener = text.substr(0, at);
  address = std::move(decoded);
  return true;
}

// ---------------------------------------------------------------------------------------------- where they come from

void InheritedSockets::add(InheritedSocket socket) {
  if (socket.keeper == net::Keeper::store) stored_.push_back(stored_name(socket.name, socket.address));
  if (!socket.descriptors.empty() && socket.wrong.empty()) look_at(socket.descriptors.front().get(), socket);
  // Of a group that shares its port each may come by itself.
  const auto same = std::find_if(sockets_.begin(), sockets_.end(), [&](const auto& o) {
    return socket.kept && o->kept && o->name == socket.name && o->address == socket.address &&
           o->datagrams == socket.datagrams && o->local.to_string() == socket.local.to_string();
  });
  if (same == sockets_.end()) {
    sockets_.push_back(std::make_unique<InheritedSocket>(std::move(socket)));
    return;
  }
  for (OwnedDescriptor& d : socket.descriptors) (*same)->descriptors.push_back(std::move(d));
}

bool InheritedSockets::take_from_environment(std::string& why) {
  const bool there = std::getenv("LISTEN_FDS") != nullptr;
  const std::string pid = take_variable("LISTEN_PID");
  const std::string fds = take_variable("LISTEN_FDS");
  const bool named = std::getenv("LISTEN_FDNAMES") != nullptr;
  const std::string written = take_variable("LISTEN_FDNAMES");
  if (!there) return true;
  if (long whose = 0; !parse_number(pid, whose) || whose != static_cast<long>(::getpid())) {
    warnings_.push_back("LISTEN_FDS: the sockets are for process " +
                        (pid.empty() ? "(no LISTEN_PID)" : quoted(pid, 32)) + " and not for this one, " +
                        std::to_string(::getpid()) + ": not used; a script between the two has to exec fiberd");
    return true;
  }
  rlimit limit{};
  int count = 0;
  if (!parse_number(fds, count) || count < 0 || ::getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
      static_cast<rlim_t>(count) > limit.rlim_max) {
    why = "LISTEN_FDS=" + quoted(fds, 32) + ": not a number of descriptors that this process may have";
    return false;
  }
  const std::vector<std::string> names = split(written, ':');
  for (int fd = kFirst; fd < kFirst + count; ++fd) {
    const auto i = static_cast<std::size_t>(fd - kFirst);
    InheritedSocket s;
    s.name = named && i < names.size() ? names[i] : std::string();
    s.described = describe(fd, s.name);
    if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
      if (why.empty())
        why = "LISTEN_FDS=" + fds + ", but " + s.described +
              " is not open: who starts fiberd hands over as many sockets as it says, from descriptor 3 on";
      continue;
    }
    s.descriptors.emplace_back(fd);
    s.kept = parse_stored_name(s.name, s.name, s.address);
    s.keeper = s.kept ? net::Keeper::store : net::Keeper::service_manager;
    add(std::move(s));
  }
  if (why.empty() && named && count > 0 && names.size() != static_cast<std::size_t>(count))
    why = "LISTEN_FDNAMES names " + std::to_string(names.size()) + " sockets, but LISTEN_FDS=" + fds +
          ": one name for each, with ':' between";
  return why.empty();
}

// ---------------------------------------------------------------------------------------------- whose they are

void InheritedSockets::look_for_places(const config::Config& config) {
  places_.clear();
  for (const config::ListenerConfig& l : config.listeners) {
    const auto* const aggregate = std::get_if<config::AggregateConfig>(&l.service);
    for (const config::ListenAddress& a : l.addresses) {
      if (aggregate == nullptr || aggregate->protocol != config::AggregateProtocol::udp)
        places_.push_back({l.name, a.text, false});
      if (aggregate != nullptr && aggregate->protocol != config::AggregateProtocol::tcp)
        places_.push_back({l.name, a.text, true});
    }
  }
  if (!config.admin.address.empty()) places_.push_back({"admin", config.admin.address, false});
  for (const config::ListenAddress& a : config.metrics.addresses) places_.push_back({"metrics", a.text, false});
}

bool InheritedSockets::is_listener(std::string_view name) const noexcept {
  return std::any_of(places_.begin(), places_.end(), [&](const Place& p) { return p.listener == name; });
}

bool InheritedSockets::is_settled(std::size_t socket) const noexcept {
  return std::any_of(places_.begin(), places_.end(), [&](const Place& p) { return p.socket == socket; });
}

/// Where it can be had and nobody else has been found for it: at its address first. `by_name`: its listener's others,
/// too.
InheritedSockets::Place* InheritedSockets::find_place(const InheritedSocket& s, bool by_name) {
  const std::string kept_at = s.kept ? normal_address(s.address) : "";
  const auto find = [&](auto fits) -> Place* {
    const auto p = std::find_if(places_.begin(), places_.end(), [&](const Place& place) {
      return place.socket == kNone && place.datagrams == s.datagrams && fits(place);
    });
    return p != places_.end() ? &*p : nullptr;
  };
  const bool unix_socket = s.local.family() == AF_UNIX;
  if (s.kept && kept_at.empty())
    return find([&](const Place& p) { return p.listener == s.name && p.address == s.address; });
  const bool theirs = !s.kept && is_listener(s.name);
  if (Place* const same = find([&](const Place& p) {
        return (s.kept ? normal_address(p.address) == kept_at : stands_at(s.local, p.address)) &&
               (!theirs || p.listener == s.name);
      }))
    return same;
  if (!theirs || !by_name) return nullptr;
  return find([&](const Place& p) { return p.listener == s.name && p.address.starts_with("unix:") == unix_socket; });
}

/// Of one that found no place, whether it should have: what is wrong then.
std::string InheritedSockets::why_not_meant(const InheritedSocket& s) const {
  if (s.kept) return {};
  const bool named = is_listener(s.name);
  const Place* other = nullptr;
  for (const Place& p : places_) {
    if (named ? p.listener != s.name : !stands_at(s.local, p.address)) continue;
    // One of its kind has another socket: this is one too many.
    if (p.datagrams == s.datagrams && (p.address.starts_with("unix:") == (s.local.family() == AF_UNIX))) return {};
    other = &p;
  }
  if (other == nullptr) return {};
  if (other->datagrams != s.datagrams)
    return std::string("is a ").append(protocol_of(s.datagrams)) + " socket, but listener " + other->listener +
           " speaks " + protocol_of(other->datagrams) + ": " +
           (other->datagrams ? "ListenDatagram=" : "ListenStream=") + " in the socket's unit";
  return "listens at " + s.local.to_string() + ", but listener " + other->listener + " is configured at " +
         other->address + ": a port and a Unix socket cannot stand for each other";
}

/// `last`: by then all have been asked who have their address in the configuration.
bool InheritedSockets::settle_one(std::size_t i, bool last, std::string& why) {
  InheritedSocket& s = *sockets_[i];
  if (is_settled(i)) return true;
  if (!s.wrong.empty()) {
    if (!last || !is_listener(s.name)) return true;
    why = s.described + " is for listener " + s.name + " and " + s.wrong;
    return false;
  }
  if (Place* const place = find_place(s, last)) {
    place->socket = i;
    if (!stands_at(s.local, place->address) && !normal_address(place->address).empty())
      warnings_.push_back("listener " + place->listener + ": " + s.described + " listens at " + s.local.to_string() +
                          " and is used in place of the configured " + place->address);
    return true;
  }
  if (!last) return true;
  if (const std::string wrong = why_not_meant(s); !wrong.empty()) {
    why = s.described + " " + wrong;
    return false;
  }
  return true;
}

bool InheritedSockets::settle(const config::Config& config, std::string& why) {
  look_for_places(config);
  for (const bool last : {false, true})
    for (std::size_t i = 0; i < sockets_.size(); ++i)
      if (!settle_one(i, last, why)) return false;
  for (std::size_t i = 0; i < sockets_.size(); ++i) {
    InheritedSocket& s = *sockets_[i];
    if (is_settled(i)) continue;
    const std::string what = s.wrong.empty() ? "listens at " + s.local.to_string() : s.wrong;
    warnings_.push_back(s.described + " " + what + ", and no listener wants it: closed" +
                        (s.kept ? "" : "; a listener's name (FileDescriptorName=) or address makes it wanted"));
    s.descriptors.clear();
    if (s.kept && s.keeper != net::Keeper::service_manager && s.local.family() == AF_UNIX)
      abandoned_.emplace_back(s.local.path());
  }
  return true;
}

bool InheritedSockets::has(std::string_view listener, std::string_view address, bool datagrams) const noexcept {
  return std::any_of(places_.begin(), places_.end(), [&](const Place& p) {
    return p.socket != kNone && p.listener == listener && p.address == address && p.datagrams == datagrams;
  });
}

std::unique_ptr<InheritedSocket> InheritedSockets::take(std::string_view listener, std::string_view address,
                                                        bool datagrams) {
  for (Place& p : places_) {
    if (p.socket == kNone || p.listener != listener || p.address != address || p.datagrams != datagrams) continue;
    return std::move(sockets_[std::exchange(p.socket, kNone)]);
  }
  return nullptr;
}

}  // namespace fiberd::daemon

#pragma once
// InheritedSockets: listening sockets that were there before this process, and whose they are to be.
//
// They come from a service manager that listens itself (socket activation) or has kept ours over a restart (its store
// of descriptors), both by LISTEN_FDS, or from the process that serves now and is to be followed
// (daemon/hand_over.hpp). How they find their listeners:
//
//   given    by a service manager, under a name (LISTEN_FDNAMES). Where the name is a listener's, "admin" or "metrics",
//            it is meant for that one, wherever it listens: who wrote the socket's unit decides the address. Another
//            name says nothing; then the address decides.
//   kept     of ours, from before: by its address as the configuration wrote it, as at a reload; where any port would
//            do, by name. One whose address is not in the configuration any more is not wanted any more.
//
// All of them are settled at once, before anything is bound: what has a name must not go to another by its address. One
// that nobody wants is closed with a warning; one that is meant for a listener and cannot be its socket (UDP where TCP
// is meant, a connection, a Unix socket where a port is, no socket at all) is an error, as is a descriptor that is not
// open: then what was counted is not what was handed over. `fiberd check` knows nothing of them.
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/config.hpp"
#include "core/net/endpoint.hpp"
#include "core/net/listener.hpp"
#include "daemon/failure.hpp"

namespace fiberd::daemon {

/// One descriptor, closed unless it is released.
class OwnedDescriptor {
 public:
  explicit OwnedDescriptor(int fd = -1) noexcept : fd_(fd) {}
  OwnedDescriptor(OwnedDescriptor&& o) noexcept : fd_(o.release()) {}
  OwnedDescriptor& operator=(OwnedDescriptor&& o) noexcept;
  ~OwnedDescriptor();
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] int release() noexcept;

 private:
  int fd_;
};

struct InheritedSocket {
  std::string name{};                        ///< of the listener it is meant for, or was of
  std::string address{};                     ///< of one that is kept: as the configuration before had it
  bool kept = false;                         ///< of ours, from before; else given by a service manager
  bool handed = false;                       ///< by the process that serves until we do, which has it, too
  net::Keeper keeper = net::Keeper::nobody;  ///< who will have it beside us
  bool datagrams = false;
  net::Endpoint local{};
  std::vector<OwnedDescriptor> descriptors{};  ///< several of a reuseport group
  std::string described{};                     ///< "descriptor 3 (web)"
  std::string wrong{};                         ///< why it can be nobody's; empty: it can
};

/// A listening socket that is handed over: duplicates, closed with it.
struct HandedSocket {
  std::string listener;
  std::string address;  ///< as the configuration has it
  bool datagrams = false;
  std::string kept;  ///< "nobody", "store", "manager"
  std::vector<OwnedDescriptor> descriptors{};
};

class InheritedSockets {
 public:
  InheritedSockets() = default;
  InheritedSockets(InheritedSockets&&) noexcept = default;
  InheritedSockets& operator=(InheritedSockets&&) noexcept = default;

  /// Those of LISTEN_FDS (sd_listen_fds(3)), if they are for this process, and out of the environment with them. From
  /// here no program that is started inherits them. False: what was said is not what there is, as `why` says. Before
  /// there are other threads.
  [[nodiscard]] bool take_from_environment(std::string& why);
  /// One that was handed over: what it is, is found out.
  void add(InheritedSocket socket);

  /// Decides whose they are, for all that `config` listens at. False: `why`.
  [[nodiscard]] bool settle(const config::Config& config, std::string& why);
  /// Whether there is one for this address of this listener. After settle().
  [[nodiscard]] bool has(std::string_view listener, std::string_view address, bool datagrams) const noexcept;
  /// The same, given away; null: there is none (any more).
  [[nodiscard]] std::unique_ptr<InheritedSocket> take(std::string_view listener, std::string_view address,
                                                      bool datagrams);
  /// Of those that a service manager's store has, also where nobody wants them.
  [[nodiscard]] const std::vector<std::string>& stored() const noexcept { return stored_; }
  /// Files of Unix sockets that were ours before and that nobody wants any more.
  [[nodiscard]] const std::vector<std::string>& abandoned() const noexcept { return abandoned_; }
  /// What is to be logged of them, once.
  [[nodiscard]] std::vector<std::string> take_warnings() noexcept { return std::exchange(warnings_, {}); }
  [[nodiscard]] bool empty() const noexcept { return sockets_.empty(); }

 private:
  struct Place {  // that somebody listens at
    std::string listener;
    std::string address;
    bool datagrams = false;
    std::size_t socket = kNone;
  };
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  void look_for_places(const config::Config& config);
  [[nodiscard]] Place* find_place(const InheritedSocket& socket, bool by_name);
  [[nodiscard]] bool settle_one(std::size_t i, bool last, std::string& why);
  [[nodiscard]] std::string why_not_meant(const InheritedSocket& socket) const;
  [[nodiscard]] bool is_listener(std::string_view name) const noexcept;
  [[nodiscard]] bool is_settled(std::size_t socket) const noexcept;

  std::vector<std::unique_ptr<InheritedSocket>> sockets_;
  std::vector<Place> places_;
  std::vector<std::string> warnings_;
  std::vector<std::string> stored_;
  std::vector<std::string> abandoned_;
};

/// How a socket of ours is called in a service manager's store: by its listener and the address that the configuration
/// has for it, so that it is found again by both. Empty: too long for a name.
[[nodiscard]] std::string stored_name(std::string_view listener, std::string_view address);
/// The other way; false: that is no such name.
[[nodiscard]] bool parse_stored_name(std::string_view text, std::string& listener, std::string& address);

}  // namespace fiberd::daemon

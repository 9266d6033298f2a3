#pragma once
// Instance: all services of one configuration, and the sockets that they are reached by.
//
// An instance is provisioned beside the one that serves, and takes over from it piece by piece; the old one goes on as
// long as anything may still fail. What is kept between them: sockets (socket_set.hpp), connections and what stands
// behind them (service.hpp), gates (gates.hpp), access logs whose settings are the same, files that are open if their
// cache's settings are. In the order of a reload:
//
//   provision  services, with what they take over from `before` in hand but untouched       may fail, changes nothing
//   bind       sockets that are new                                                          may fail, changes nothing
//   start      services and sockets that are new begin to serve                              may fail: undo()
//   adopt      the others take over; who is served by kept sockets is replaced               cannot fail
//   leave      on the old one: what nobody took over
//
// A service follows the one of the same name and kind; a socket is kept by its address. The two need not go together: a
// listener that is renamed, or becomes something else, is a new service at an old socket, and two that swap their
// addresses are old services at each other's. Who comes by a socket before adopt() is the old service's and ends there,
// with its limits; who comes after is the new one's. Nobody is in between, and since all that can fail has been done by
// then, no reload ends with one of two addresses swapped.
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "daemon/admin/admin.hpp"
#include "daemon/failure.hpp"
#include "daemon/provision.hpp"
#include "daemon/service.hpp"
#include "daemon/services/tls_keeper.hpp"
#include "daemon/socket_set.hpp"
#include "daemon/tracing/tracing.hpp"

namespace fiberd::daemon {

/// What instances are made with: the process's.
struct InstanceParts {
  const Handlers& handlers;
  metric::Registry& registry;
  runtime::Runtime& runtime;
  AccessLogWriters& access_logs;
  Room& room;
  MemoryGate& memory;
  AdminState& admin;
  Tracing& tracing;
  InheritedSockets* inherited = nullptr;  ///< of the first instance; null: none
};

class Instance {
 public:
  /// One listener.
  struct Entry {
    std::unique_ptr<Service> service;
    std::vector<std::shared_ptr<BoundSocket>> sockets{};
    Service* before = nullptr;  ///< whom it follows, until adopt()
    /// Of one that has left: who is followed by another, and whom its sockets ask until they are closed.
    std::unique_ptr<Service> asked{};
  };
  /// `provided`: as provision() opened it for `config`. Null: `why` says what cannot be had.
  [[nodiscard]] static std::unique_ptr<Instance> provision(config::Config config, Provided provided,
                                                           const InstanceParts& parts, const Instance* before,
                                                           Failure& why);
  /// False: `why` says which address cannot be bound. What was bound goes with the instance.
  [[nodiscard]] bool bind(const Instance* before, Failure& why);
  /// Services that are new, in the order of the file, then the house's own. On a fiber.
  [[nodiscard]] Result<void> start();
  /// What start() began is cut. On a fiber.
  void undo() noexcept;
  /// Takes over from the instance that it was provisioned with. On a fiber. Throws std::bad_alloc: then it must be
  /// called again, for some of it has been taken over.
  void adopt();
  /// Takes out of this one what its successor did not take over. Throws std::bad_alloc: it may be called again, and
  /// goes on with what is left.
  void leave(const Instance& successor, std::vector<Entry>& left);

  /// Of all services: as Service::ends_on_fibers.
  [[nodiscard]] std::vector<std::shared_ptr<const void>> ends_on_fibers() const;

  /// No socket accepts any more, but for the house's own. Parks.
  void stop_listening() noexcept;
  void begin_stop() noexcept;

  /// All of its sockets, for a process that is to follow this one. Errors: too_many_files_open and its kin.
  [[nodiscard]] Result<std::vector<HandedSocket>> hand_over() const;
  /// Another process has the sockets, too: they are left alone at their end. Or it has not (any more).
  void lend(bool lent) const noexcept;
  /// Goes on accepting, or does not for now.
  void accept(bool accepting) const noexcept;
  /// Goes on taking datagrams, or does not for now: none is taken any more when it returns. On a fiber, or before one
  /// is at it elsewhere.
  void take_datagrams(bool taking) const noexcept;
  /// Sockets are as the configuration says, whatever another process has made of them.
  void apply_settings() const noexcept;
  /// Begins to accept by those that were handed over, and has them for itself.
  void accept_handed() const noexcept;
  void own_handed() const noexcept;
  /// Its sockets by their names in a service manager's store, but for those that are the manager's own.
  [[nodiscard]] std::map<std::string, std::vector<int>> storable() const;
  /// Those of this name are in the store now.
  void note_stored(const std::string& name) const noexcept;
  /// Whether it has a socket for this address of this listener, which then need not be bound.
  [[nodiscard]] bool has_socket(std::string_view listener, const std::string& address, bool datagrams) const;
  [[nodiscard]] Room::Present present() const;
  [[nodiscard]] std::vector<Entry>& entries() noexcept { return entries_; }
  /// The admin's and the metrics', as far as there are any: who looks on until the end.
  [[nodiscard]] std::vector<Entry*> own();
  [[nodiscard]] const config::Config& config() const noexcept { return config_; }
  [[nodiscard]] const std::shared_ptr<http::OpenFiles>& files() const noexcept { return files_; }
  [[nodiscard]] const CollectorHeaders& collector_headers() const noexcept { return collector_headers_; }
  [[nodiscard]] const std::shared_ptr<const tls::ClientContext>& collector_tls() const noexcept {
    return collector_tls_;
  }
  /// Those of listeners that are encrypted.
  [[nodiscard]] const std::vector<std::shared_ptr<TlsKeeper>>& keepers() const noexcept { return keepers_; }
  /// One address that is listened at.
  struct Place {
    std::string listener;
    std::string address;
    std::string what;  ///< "http", "tcp echo, IPv6 alone"
  };
  [[nodiscard]] std::vector<Place> places() const;
  /// "listening on 127.0.0.1:80: web (http)" for each of them.
  [[nodiscard]] std::vector<std::string> announcements() const;

 private:
  enum class Need : std::uint8_t { required, wanted };
  Instance(config::Config config, const InstanceParts& parts);
  [[nodiscard]] bool provision_listener(const config::ListenerConfig& listener, HttpParts parts,
                                        std::shared_ptr<const TlsParts> tls, const Instance* before, Failure& why);
  [[nodiscard]] bool bind_listener(Entry& entry, const config::ListenerConfig& listener, const Instance* before,
                                   Failure& why);
  [[nodiscard]] bool bind_address(Entry& entry, const config::ListenAddress& address,
                                  const net::ListenerOptions& options, const Instance* before, Failure& why);
  [[nodiscard]] std::shared_ptr<BoundSocket> keep(Entry& entry, const std::string& address, const Instance* before);
  [[nodiscard]] bool provision_own(const Instance* before, Failure& why);
  [[nodiscard]] bool bind_admin(const Instance* before, Failure& why);
  [[nodiscard]] bool check_who_may_ask(Failure& why) const;
  [[nodiscard]] bool bind_metrics(const Instance* before, Failure& why);
  [[nodiscard]] bool bind_one(Entry& entry, const std::string& address, const config::Place& at,
                              net::ListenerOptions options, Need need, Failure& why);
  [[nodiscard]] Result<void> start(Entry& entry);
  void adopt(Entry& entry);
  static void change(Entry& entry, const std::string& owner, net::SocketSettings settings);
  [[nodiscard]] const Entry* find(const std::string& name) const noexcept;
  [[nodiscard]] bool follows(const Service& service) const noexcept;

  const config::Config config_;
  const InstanceParts parts_;
  std::shared_ptr<http::OpenFiles> files_;
  CollectorHeaders collector_headers_;
  std::shared_ptr<const tls::ClientContext> collector_tls_;
  std::shared_ptr<const trace::Tracer> tracer_;
  SocketSet sockets_;
  std::vector<Entry> entries_;
  std::vector<std::shared_ptr<TlsKeeper>> keepers_;
  Entry admin_;
  Entry metrics_;
};

}  // namespace fiberd::daemon

#pragma once
// Service: what serves one listener of one configuration; and how the same listener of the next one takes over.
//
// The life of a service:
//   provision  it is made. Everything that can fail without the outside seeing it is done: files opened, routes tried,
//              gates taken over from the service before or made, logs opened. Nothing is visible but metrics at zero.
//              Off the Processors where there is time to lose (a reload); no other service is changed.
//   start      of a listener that is new: what stands behind it begins to run. May fail.
//   start_more of one that was there: what it has beside its sockets at addresses that are new begins. May fail.
//   adopt      of a listener that was there: connections, and what they need, pass from the service before, which is
//              then a shell. Cannot fail but for memory.
//   serving    who its sockets call, and within which limits: when it has started or adopted
//   drain      no socket accepts for it any more: what is under way ends, or is cut at the deadline
// All of them are called by one fiber (or thread) at a time: instance.cpp.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "core/base/result.hpp"
#include "core/http/files/open_files.hpp"
#include "core/metric/registry.hpp"
#include "core/net/connection_counts.hpp"
#include "core/net/endpoint.hpp"
#include "core/net/listener.hpp"
#include "core/runtime/runtime.hpp"
#include "core/trace/source.hpp"
#include "core/trace/tracer.hpp"
#include "daemon/access_log.hpp"
#include "daemon/handlers.hpp"
#include "daemon/inherited_sockets.hpp"
#include "daemon/memory_gate.hpp"
#include "daemon/room.hpp"

namespace fiberd::daemon {

/// What services of a configuration are made with. All but `config` and `files` are the process's.
struct Surroundings {
  const config::Config& config;
  const Handlers& handlers;
  metric::Registry& registry;
  runtime::Runtime& runtime;
  AccessLogWriters& access_logs;
  Room& room;
  MemoryGate& memory;
  std::shared_ptr<http::OpenFiles> files;
  std::shared_ptr<const trace::Tracer> tracer;  ///< null: nothing is traced
  std::shared_ptr<const trace::Source> traces;  ///< for contexts of what no request has begun
  InheritedSockets* inherited = nullptr;        ///< until everything is bound; null: there are none
};

class Service {
 public:
  Service(std::string name, std::string_view kind) : name_(std::move(name)), kind_(kind) {}
  virtual ~Service() = default;
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// "http", "tcp", "aggregate" or "admin". Where a listener changes it another service begins, and this one drains.
  [[nodiscard]] std::string_view kind() const noexcept { return kind_; }

  [[nodiscard]] virtual bool wants_tcp() const noexcept { return true; }
  /// A service that has sockets of its own beside the listener's binds one, or takes over that of the service before,
  /// for each of the listener's addresses: `address` as it is written, `at` where the listener is or was to be there.
  /// address_in_use where any port would have done: others are tried.
  [[nodiscard]] virtual Result<void> bind_others(const std::string& /*address*/, const net::Endpoint& /*at*/,
                                                 bool /*dual_stack*/) {
    return {};
  }
  /// Those that it has, for who hands them over: not to be closed.
  struct OtherSocket {
    std::string address;  ///< as the configuration has it
    int fd = -1;
    net::Keeper keeper = net::Keeper::nobody;
  };
  [[nodiscard]] virtual std::vector<OtherSocket> other_sockets() const { return {}; }
  /// Those that are in a service manager's store by this name are noted as such.
  virtual void note_stored(const std::string& /*name*/) noexcept {}
  /// Whether it reads by them. False: nothing is read any more when it returns, and what comes waits in the kernel.
  /// Those that were handed over by a process that serves are not read before the first true. On a fiber.
  virtual void take_others(bool /*taking*/) noexcept {}
  /// Whether it has one at `address` already, as the configuration writes it.
  [[nodiscard]] virtual bool has_other(const std::string& /*address*/) const { return false; }
  /// On a fiber. Error: of spawning. Throws as Registry does.
  [[nodiscard]] virtual Result<void> start() { return {}; }
  [[nodiscard]] virtual Result<void> start_more() { return {}; }
  /// What start_more() began ends; also of what it did not come to.
  virtual void undo_more() noexcept {}
  /// `before` has the same name and kind. On a fiber. Throws std::bad_alloc.
  virtual void adopt(Service& before) = 0;
  [[nodiscard]] virtual net::Serving serving() noexcept = 0;
  /// A stop is near: connections are told. Any thread; never parks.
  virtual void begin_stop() noexcept {}
  /// Parks until all connections are gone; at `deadline` (monotonic ns, which may be moved meanwhile) the rest is cut.
  /// Returns how many were. On a fiber.
  virtual std::size_t drain(const std::atomic<std::int64_t>& deadline) = 0;
  /// Its connections, if they can be closed to make room.
  [[nodiscard]] virtual std::shared_ptr<HttpServer> http_server() const noexcept { return nullptr; }
  /// Its connections as what the kernel holds for them; null: they cannot be cut.
  [[nodiscard]] virtual std::shared_ptr<Queues> queues() const noexcept { return http_server(); }
  /// What of it ends on fibers only, when nobody has it any more.
  [[nodiscard]] virtual std::vector<std::shared_ptr<const void>> ends_on_fibers() const { return {}; }
  /// "http", "aggregate, tcp and udp": for the log.
  [[nodiscard]] virtual std::string describe() const { return std::string(kind_); }
  /// Where it listens, if not by a listener.
  [[nodiscard]] virtual std::vector<std::string> other_addresses() const { return {}; }
  /// Who counts its connections; null where none come by a listener.
  [[nodiscard]] virtual std::shared_ptr<const net::ConnectionCounts> counts() const noexcept { return nullptr; }

 private:
  const std::string name_;
  const std::string_view kind_;
};

}  // namespace fiberd::daemon

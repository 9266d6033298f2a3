#pragma once
// Manager: has certificates there before they are needed, from one fiber for all listeners of a configuration, one
// after the other. What is obtained goes into the store's file, and whoever watches that file shows it to clients; the
// manager touches no listener.
//
// When a certificate is due follows from its own dates, from the authority's window where it has one (ARI), and from
// what is written in the store of attempts that failed: so a restart, a reload and another process decide the same, and
// nobody asks an authority more often than one process would. Who asks holds the store's lock, and looks again whether
// it is due once he has it.
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/lock.hpp"
#include "core/context/context.hpp"
#include "core/metric/registry.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/channel.hpp"
#include "core/tls/client_context.hpp"
#include "daemon/acme/challenges.hpp"
#include "daemon/acme/renewal.hpp"
#include "daemon/acme/store.hpp"

namespace fiberd::daemon::acme {

/// One certificate that is to be there.
struct Site {
  std::string listener;
  std::vector<std::string> names;
  std::string directory;  ///< URL
  std::string storage;    ///< path
  std::string email;
  std::string key_id;    ///< of an external account; empty: none
  std::string key_file;  ///< base64url, as authorities hand it out
  std::string profile;
  OwnProver::Ways ways;
  std::shared_ptr<const tls::ClientContext> tls{};  ///< null: the system's authorities
};

struct ManagerMetrics {
  metric::Counter* issued = nullptr;
  metric::Counter* bad_nonces = nullptr;
  std::array<metric::Counter*, static_cast<std::size_t>(Reason::count_)> failures{};
  metric::Gauge* failing = nullptr;  ///< certificates whose last attempt failed
};

class Manager {
 public:
  Manager(runtime::Runtime& runtime, std::shared_ptr<Challenges> challenges, const ManagerMetrics& metrics);
  /// stop() must have been called, and its fiber have ended.
  ~Manager();
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  /// From now on these. Begins the fiber if there are any. Any thread. Throws std::bad_alloc.
  void use(std::vector<Site> sites);
  /// All of them now, however long they are still good, and however often it failed. How many there are. Any thread.
  std::size_t renew() noexcept;
  /// An order that is under way is given up, and there is none after it. Any thread; never parks.
  void cancel() noexcept { life_.cancel(); }
  /// The same, and parks until the fiber has ended: what an order leaves behind is put away, by a program perhaps, and
  /// a disk may be slow. On a fiber.
  void stop() noexcept;

  /// How it stands.
  struct Shown {
    std::string listener;
    std::string names;
    std::string file;
    std::int64_t not_after = 0;  ///< 0: there is no certificate yet
    std::int64_t next = 0;       ///< when it is asked for again; 0: at once
    Attempts attempts{};
  };
  [[nodiscard]] std::vector<Shown> shown() const;

 private:
  struct State {
    std::shared_ptr<http::Client> client{};
    std::shared_ptr<const tls::ClientContext> tls{};
    std::optional<RenewalWindow> window{};
    std::string window_of{};        // ARI id
    std::int64_t window_until = 0;  // seconds: then it is asked for again
    Attempts unkept{};              // what the store could not keep: it counts all the same
  };
  using Sites = std::vector<Site>;
  [[nodiscard]] std::shared_ptr<const Sites> sites() const noexcept;
  void run() noexcept;
  [[nodiscard]] std::int64_t turn(const Site& site, bool now);
  [[nodiscard]] std::int64_t due(const Site& site, const Store& store, bool now, Shown& shown);
  void look_at_window(const Site& site, const std::string& ari_id);
  [[nodiscard]] Outcome<Issued> ask(const Site& site, const Store& store, const std::string& replaces);
  [[nodiscard]] Outcome<Issued> ask_once(const Site& site, const Store& store, const std::string& replaces);
  [[nodiscard]] State& state_of(const Site& site);
  void show(const Site& site, Shown shown);

  runtime::Runtime& runtime_;
  const std::shared_ptr<Challenges> challenges_;
  const ManagerMetrics metrics_;
  const context::Cancelable life_ = context::with_cancel(context::background());
  sync::Channel<char> wake_{1};
  std::atomic<bool> renew_{false};
  std::atomic<bool> running_{false};
  mutable Lock lock_;
  std::shared_ptr<const Sites> sites_ FIBERD_GUARDED_BY(lock_) = std::make_shared<const Sites>();
  std::map<std::string, Shown> shown_ FIBERD_GUARDED_BY(lock_);  // by file
  std::map<std::string, State> states_;                          // by file; the fiber's
};

}  // namespace fiberd::daemon::acme

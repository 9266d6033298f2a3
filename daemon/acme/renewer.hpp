#pragma once
// Renewer: has one certificate after the other there before it is needed. What is obtained goes into the store's file,
// and whoever watches that file shows it to clients; the renewer touches no listener.
//
// When a certificate is due follows from its own dates, from the authority's window where it has one (ARI), and from
// what is written in the store: of tries that failed, and that one is just issued. So a restart, a reload and another
// process decide the same, and nobody asks an authority more often than one process would. Who asks holds the store's
// lock, and looks again whether it is due once he has it. That he asks is written down as a failure before he does, and
// taken back when it went well: a process that dies each time it asks does so less and less often, too.
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/context/context.hpp"
#include "core/http/client/client.hpp"
#include "core/metric/metrics.hpp"
#include "core/tls/client_context.hpp"
#include "daemon/acme/challenges.hpp"
#include "daemon/acme/kept.hpp"
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
/// Where its certificate is, or will be: what tells one from another.
[[nodiscard]] std::string file_of(const Site& site);

struct ManagerMetrics {
  metric::Counter* issued = nullptr;
  metric::Counter* bad_nonces = nullptr;
  std::array<metric::Counter*, static_cast<std::size_t>(Reason::count_)> failures{};
  metric::Gauge* failing = nullptr;  ///< certificates whose last attempt failed
};

/// How it stands with one.
struct Standing {
  std::string file;
  std::string serial;
  std::int64_t not_after = 0;  ///< 0: there is no certificate yet
  std::int64_t next = 0;       ///< when it is asked for again; 0: at once
  Attempts attempts{};
};

/// Used by one fiber; all may wait. `life` ends an order that is under way; it and `challenges` must outlive it.
class Renewer {
 public:
  using Tell = std::function<void(const Site&, const Standing&)>;
  /// `tell` hears how it stands before an authority is asked and behind it; it must not wait.
  Renewer(const context::Context& life, Challenges& challenges, const ManagerMetrics& metrics, Tell tell);
  /// Its clients must have been closed while there was a runtime: close().
  ~Renewer();
  Renewer(const Renewer&) = delete;
  Renewer& operator=(const Renewer&) = delete;

  struct Turn {
    std::int64_t again = 0;  ///< seconds of the epoch: when to look again
    bool done = false;       ///< who wanted it now has what he wanted: it was asked for, well or not
    bool busy = false;       ///< another process has the store's lock
  };
  /// Looks at one, and asks if it is due, or wanted `now` however long it is still good and however often it failed.
  [[nodiscard]] Turn turn(const Site& site, bool now);
  /// What is known of all others is forgotten.
  void forget_all_but(const std::vector<Site>& sites);
  void close() noexcept;

 private:
  struct State {
    std::shared_ptr<http::Client> client{};
    std::shared_ptr<const tls::ClientContext> tls{};
    std::optional<RenewalWindow> window{};
    std::string window_of{};             // ARI id
    std::int64_t window_until = 0;       // seconds: then it is asked for again
    Attempts unkept{};                   // what the store could not keep: it counts all the same
    std::string flaw{};                  // of what is there, as the log has it
    std::optional<std::string> waits{};  // wanted now, but another process asks: the serial number until it has done
  };
  [[nodiscard]] std::int64_t due(const Site& site, const Store& store, bool now, Standing& how);
  [[nodiscard]] bool wait_for_other(const Site& site, const Standing& how);
  void look_at_window(const Site& site, const std::string& ari_id);
  void fail(const Site& site, const Trouble& trouble, Standing& how);
  [[nodiscard]] Outcome<Issued> issue(const Site& site, const Store& store, Standing& how);
  [[nodiscard]] Outcome<Issued> ask(const Site& site, const Store& store, unsigned failures);
  [[nodiscard]] Outcome<Issued> ask_once(const Site& site, const Store& store, unsigned failures, bool replaces);
  [[nodiscard]] bool is_gone(const Site& site, const Store& store, const Trouble& trouble);
  [[nodiscard]] State& state_of(const Site& site);

  const context::Context& life_;
  Challenges& challenges_;
  const ManagerMetrics metrics_;
  const Tell tell_;
  std::map<std::string, State> states_;  // by file
};

/// "www.example.org and 2 more", for people.
[[nodiscard]] std::string names_of(const Site& site);

}  // namespace fiberd::daemon::acme

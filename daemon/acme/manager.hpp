#pragma once
// Manager: one fiber that has the certificates of all listeners of a configuration there, one after the other
// (renewer.hpp).
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/base/lock.hpp"
#include "core/context/context.hpp"
#include "core/metric/registry.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/channel.hpp"
#include "daemon/acme/renewer.hpp"

namespace fiberd::daemon::acme {

class Manager {
 public:
  Manager(runtime::Runtime& runtime, std::shared_ptr<Challenges> challenges, const ManagerMetrics& metrics);
  /// stop() must have been called, and its fiber have ended.
  ~Manager();
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  /// From now on these. Begins the fiber if there are any. Any thread. Throws std::bad_alloc.
  void use(std::vector<Site> sites);
  /// All of them now, however long they are still good, and however often it failed; where another process asks an
  /// authority, behind it. How many there are. Any thread. Throws std::bad_alloc.
  std::size_t renew();
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
  using Sites = std::vector<Site>;
  [[nodiscard]] std::shared_ptr<const Sites> sites() const noexcept;
  [[nodiscard]] std::uint64_t wanted(const std::string& file) const noexcept;
  void had(const std::string& file, std::uint64_t which) noexcept;
  void run() noexcept;
  void show(const Site& site, const Standing& how);

  runtime::Runtime& runtime_;
  const std::shared_ptr<Challenges> challenges_;
  const ManagerMetrics metrics_;
  const context::Cancelable life_ = context::with_cancel(context::background());
  sync::Channel<char> wake_{1};
  std::atomic<bool> running_{false};
  mutable Lock lock_;
  std::shared_ptr<const Sites> sites_ FIBERD_GUARDED_BY(lock_) = std::make_shared<const Sites>();
  std::set<std::string> files_ FIBERD_GUARDED_BY(lock_);  // of sites_
  std::uint64_t renewals_ FIBERD_GUARDED_BY(lock_) = 0;   // calls of renew()
  // Of files_, those that such a call is not done for yet: which one.
  std::map<std::string, std::uint64_t> wanted_ FIBERD_GUARDED_BY(lock_);
  std::map<std::string, Shown> shown_ FIBERD_GUARDED_BY(lock_);  // by file
  Renewer renewer_;                                              // the fiber's
};

}  // namespace fiberd::daemon::acme

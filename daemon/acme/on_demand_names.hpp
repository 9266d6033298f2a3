#pragma once
// OnDemandNames: what handshakes find of certificates that come on demand, and what they want. Anybody may say any
// name, so what a name costs is decided here: a look into two tables, and at most a place in a short queue. Who is
// refused is remembered for a while, apart from what is shown: a flood of names that are nobody's drives out nothing
// but itself.
//
// A handshake is never kept waiting: an order takes seconds, and connections that wait for one that anybody can begin
// would be the cheapest way to take a server's memory. Who comes first is shown what who says no name is shown.
#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "core/base/lock.hpp"
#include "core/metric/metrics.hpp"
#include "core/sync/channel.hpp"
#include "core/tls/name_source.hpp"

namespace fiberd::daemon::acme {

/// Any thread; never parks.
class OnDemandNames final : public tls::NameSource {
 public:
  static constexpr std::size_t kMostQueued = 64;
  static constexpr std::size_t kMostRefused = 4096;
  using Wake = std::shared_ptr<sync::Channel<char>>;

  /// `wake` gets a value when something is wanted.
  explicit OnDemandNames(Wake wake) : wake_(std::move(wake)) {}

  [[nodiscard]] std::shared_ptr<const tls::Certificate> find(std::string_view name) noexcept override;

  /// Certificates that are kept, and what counts those who found no place in the queue (may be null).
  void use(std::size_t most, metric::Counter* dropped) noexcept;
  /// The one that has been wanted for the longest time; it is not wanted again before one of the following is said of
  /// it.
  [[nodiscard]] std::optional<std::string> next();
  /// From now on; wanted again from `renew_at` on (seconds of the epoch).
  void show(const std::string& name, std::shared_ptr<const tls::Certificate> certificate, std::int64_t renew_at);
  /// There is none, and none is wanted before `until`.
  void refuse(const std::string& name, std::int64_t until);

 private:
  struct Entry {
    std::shared_ptr<const tls::Certificate> certificate{};
    std::int64_t until = 0;
    std::list<std::string>::iterator place{};
  };
  /// The least recently used goes first.
  struct Table {
    std::map<std::string, Entry, std::less<>> all;
    std::list<std::string> order;  // the latest in front
  };
  static void put(Table& table, const std::string& name, Entry entry, std::size_t most);
  static void erase(Table& table, std::string_view name);
  void want(std::string_view name) FIBERD_REQUIRES(lock_);

  const Wake wake_;
  mutable Lock lock_;
  Table shown_ FIBERD_GUARDED_BY(lock_);
  Table refused_ FIBERD_GUARDED_BY(lock_);
  std::deque<std::string> queue_ FIBERD_GUARDED_BY(lock_);
  std::set<std::string, std::less<>> wanted_ FIBERD_GUARDED_BY(lock_);  // in the queue, or in work
  std::size_t most_ FIBERD_GUARDED_BY(lock_) = 1000;
  metric::Counter* dropped_ FIBERD_GUARDED_BY(lock_) = nullptr;
};

/// A name of the Internet's in lower case, without a dot at its end: letters, digits and hyphens in at least two
/// labels, no address, no wildcard. Empty: `name` is none.
[[nodiscard]] std::string plain_host_name(std::string_view name);

}  // namespace fiberd::daemon::acme

#pragma once
// OnDemand: one fiber that has certificates there for names that handshakes have asked for, one after the other: from
// the state directory, or, if the operator's URL allows the name and the hour has an order left, from the authority.
// They are renewed when a client asks for them while they are due, and by nobody else.
#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/lock.hpp"
#include "core/context/context.hpp"
#include "core/flow/token_bucket.hpp"
#include "core/http/client/client.hpp"
#include "core/metric/registry.hpp"
#include "core/runtime/runtime.hpp"
#include "daemon/acme/on_demand_names.hpp"
#include "daemon/acme/renewer.hpp"

namespace fiberd::daemon::acme {

/// What came of a name.
enum class OnDemandEnd : std::uint8_t {
  issued,
  loaded,      ///< it was in the state directory
  denied,      ///< the URL does not want it
  unanswered,  ///< the URL said nothing, or 5xx
  limited,     ///< no order is left for now, or too many ask
  failed,      ///< no certificate was had; another process asks an authority, among the causes
  dropped,     ///< too many names are wanted at once
  count_
};
[[nodiscard]] std::string_view token_of(OnDemandEnd end) noexcept;

struct OnDemandMetrics {
  std::array<metric::Counter*, static_cast<std::size_t>(OnDemandEnd::count_)> names{};
};

/// One listener's.
struct OnDemandSite {
  Site site;  ///< of no names
  std::string ask;
  std::uint64_t orders = 10;  ///< an hour
  std::uint64_t most = 1000;
  std::shared_ptr<OnDemandNames> names;
};

class OnDemand {
 public:
  /// `wake` is that of all names.
  OnDemand(runtime::Runtime& runtime, std::shared_ptr<Challenges> challenges, OnDemandNames::Wake wake,
           const ManagerMetrics& metrics, const OnDemandMetrics& ends);
  /// stop() must have been called.
  ~OnDemand();
  OnDemand(const OnDemand&) = delete;
  OnDemand& operator=(const OnDemand&) = delete;

  /// From now on these. Begins the fiber if there are any. Any thread. Throws std::bad_alloc.
  void use(std::vector<OnDemandSite> sites);
  /// As Manager's.
  void cancel() noexcept { life_.cancel(); }
  void stop() noexcept;

 private:
  static constexpr double kAsksPerSecond = 10;
  struct Budget {
    explicit Budget(std::uint64_t per_hour);
    const std::uint64_t per_hour;
    flow::TokenBucket orders;
    flow::TokenBucket asks{kAsksPerSecond, 100};
  };
  using Sites = std::vector<OnDemandSite>;
  [[nodiscard]] std::shared_ptr<const Sites> sites() const noexcept;
  void run() noexcept;
  void work(const OnDemandSite& site, const std::string& name);
  [[nodiscard]] OnDemandEnd ask(const OnDemandSite& site, const std::string& name);
  [[nodiscard]] Budget& budget_of(const OnDemandSite& site);
  void count(OnDemandEnd end) noexcept;

  runtime::Runtime& runtime_;
  const std::shared_ptr<Challenges> challenges_;
  const OnDemandNames::Wake wake_;
  const OnDemandMetrics ends_;
  const context::Cancelable life_ = context::with_cancel(context::background());
  std::atomic<bool> running_{false};
  mutable Lock lock_;
  std::shared_ptr<const Sites> sites_ FIBERD_GUARDED_BY(lock_) = std::make_shared<const Sites>();
  // The fiber's.
  std::map<std::string, std::unique_ptr<Budget>> budgets_;  // by listener
  std::unique_ptr<http::Client> client_;
  bool told_ = false;  // that the URL does not answer
  Standing last_;
  Renewer renewer_;
};

}  // namespace fiberd::daemon::acme

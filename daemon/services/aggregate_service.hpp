#pragma once
// The service of a listener that aggregates.
//
// What passes to the next configuration: all of it. The aggregation goes on, with its series, its queues and its
// upstreams, as long as its listener stays; limits of connections may change. Its other settings shape that state, so
// they cannot change while it runs: reload.cpp refuses them by name.
#include <memory>
#include <string>

#include "config/config.hpp"
#include "daemon/service.hpp"
#include "daemon/services/aggregate/service.hpp"

namespace fiberd::daemon {

class AggregateService final : public Service {
 public:
  /// `before` may be null. Throws as Registry does.
  AggregateService(const config::ListenerConfig& listener, const Surroundings& with, const AggregateService* before);

  [[nodiscard]] bool wants_tcp() const noexcept override { return aggregate_->wants_tcp(); }
  [[nodiscard]] Result<void> bind_others(const net::Endpoint& at, bool dual_stack) override;
  [[nodiscard]] Result<void> start() override { return aggregate_->start(); }
  void adopt(Service&) override {}  // it has had it from the beginning
  [[nodiscard]] net::Serving serving() noexcept override;
  std::size_t drain(const std::atomic<std::int64_t>& deadline) override { return aggregate_->stop(deadline); }
  [[nodiscard]] std::string describe() const override;
  [[nodiscard]] std::string other_address() const override;
  [[nodiscard]] std::shared_ptr<const aggregate::Service> aggregate() const noexcept { return aggregate_; }

 private:
  const std::size_t connections_;
  const std::size_t connections_per_address_;
  std::shared_ptr<aggregate::Service> aggregate_;
  RoomOfListener room_;
};

}  // namespace fiberd::daemon

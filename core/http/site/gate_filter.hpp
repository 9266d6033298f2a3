#pragma once
// GateFilter: how a request passes a gate (gate.hpp), between its head and its handler.
#include "core/http/filter.hpp"
#include "core/http/site/gate.hpp"

namespace fiberd::http {

class GateFilter final : public Filter {
 public:
  explicit GateFilter(Gate& gate) noexcept : gate_(gate) {}
  Result<void> serve(Exchange& exchange, Next next) override;

 private:
  Result<void> pass(Exchange& exchange, Next next);
  Gate& gate_;
};

}  // namespace fiberd::http

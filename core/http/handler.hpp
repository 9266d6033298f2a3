#pragma once
// Handler: what answers the requests of a route.
#include "core/base/result.hpp"

namespace fiberd::http {

class Exchange;

/// Answers requests of one route. One object serves all connections at once, on several threads: it must be const in
/// effect or lock. An error means that the connection is lost; an exception that leaves serve() is logged, counted and
/// answered 500.
class Handler {
 public:
  Handler() = default;
  Handler(const Handler&) = delete;
  Handler& operator=(const Handler&) = delete;
  virtual ~Handler() = default;
  virtual Result<void> serve(Exchange& exchange) = 0;
};

}  // namespace fiberd::http

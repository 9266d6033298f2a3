#pragma once
// A line for each request that the server itself refuses, at level debug of the module http: which rule it broke, and
// whose it was. They are counted anyway; this is for who asks whose they are.
#include "core/http/exchange.hpp"
#include "core/http/reject.hpp"

namespace fiberd::http {

/// One load where nobody wants them. Never parks.
void log_refusal(Reject reason, const Exchange& exchange) noexcept;

}  // namespace fiberd::http

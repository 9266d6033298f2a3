#include "core/http/client/client_metrics.hpp"

namespace fiberd::http {

std::string_view token_of(ClientFailure failure) noexcept {
  switch (failure) {
    case ClientFailure::request: return "request";
    case ClientFailure::resolve: return "resolve";
    case ClientFailure::connect: return "connect";
    case ClientFailure::tls: return "tls";
    case ClientFailure::wait: return "wait";
    case ClientFailure::write: return "write";
    case ClientFailure::closed: return "closed";
    case ClientFailure::truncated: return "truncated";
    case ClientFailure::timeout: return "timeout";
    case ClientFailure::malformed: return "malformed";
    case ClientFailure::too_large: return "too_large";
    case ClientFailure::canceled: return "canceled";
    case ClientFailure::deadline: return "deadline";
    case ClientFailure::other:
    case ClientFailure::count_: break;
  }
  return "other";
}

}  // namespace fiberd::http

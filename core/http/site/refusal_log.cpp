#include "core/http/site/refusal_log.hpp"

#include <new>
#include <string>

#include "core/base/log.hpp"
#include "core/base/printable.hpp"

namespace fiberd::http {

void log_refusal(Reject reason, const Exchange& exchange) noexcept {
  static constexpr std::size_t kMost = 200;
  if (reason == Reject::none || !logs(LogModule::http, LogLevel::debug)) return;
  try {
    const Request& request = exchange.request();
    log(LogLevel::debug, "refused (" + std::string(token_of(reason)) + "): " + exchange.peer().to_string() + " " +
                             quoted(request.method_text, 32) + " " + quoted(request.target, kMost) + " Host " +
                             quoted(request.host, kMost));
  } catch (const std::bad_alloc&) {
    log(LogLevel::debug, "refused, and memory to describe it is out");
  }
}

}  // namespace fiberd::http

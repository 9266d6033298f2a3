#include "config/load_websocket.hpp"

#include <algorithm>

#include "config/text_rules.hpp"

namespace fiberd::config {

WebSocketAction read_websocket(const Reader& r) {
  WebSocketAction a;
  (void)r.choice("handler");  // there is one
  a.message_size = r.number("message_size");
  a.ping_interval = r.duration("ping_interval");
  a.idle_timeout = r.duration("idle_timeout");
  a.message_timeout = r.duration("message_timeout");
  a.compression = r.boolean("compression");
  a.origins = r.strings("origins");
  a.subprotocols = r.strings("subprotocols");
  a.at = r.place("");
  if (a.ping_interval.count() != 0 && a.idle_timeout.count() != 0 && a.ping_interval >= a.idle_timeout)
    r.report(r.has("ping_interval") ? "ping_interval" : "idle_timeout",
             "a silent client is closed before it has been asked: ping_interval must be less than idle_timeout");
  for (std::size_t i = 0; i < a.origins.size(); ++i) {
    const std::string& origin = a.origins[i];
    if (std::find(a.origins.begin(), a.origins.begin() + static_cast<std::ptrdiff_t>(i), origin) !=
        a.origins.begin() + static_cast<std::ptrdiff_t>(i))
      r.report("origins", i, origin + " stands there twice");
    if (origin == "same") continue;
    if (origin == "*")
      r.report("origins", i, "is every origin, and so is a websocket without origins; leave it out");
    else if (const std::string wrong = check_origin(origin); !wrong.empty())
      r.report("origins", i, wrong + "; same is the origin of the page's own host");
  }
  for (std::size_t i = 0; i < a.subprotocols.size(); ++i) {
    const std::string& name = a.subprotocols[i];
    if (!is_token(name)) r.report("subprotocols", i, "\"" + name + "\" is no name of a subprotocol");
    if (std::find(a.subprotocols.begin(), a.subprotocols.begin() + static_cast<std::ptrdiff_t>(i), name) !=
        a.subprotocols.begin() + static_cast<std::ptrdiff_t>(i))
      r.report("subprotocols", i, name + " stands there twice");
  }
  return a;
}

}  // namespace fiberd::config

#pragma once
// Who may ask the admin listener, and what all of its answers say. One place for all pages, so that one that is added
// cannot forget it.
//
// Against whom. (1) A web page that the machine's users look at can have their browsers send requests to any address.
// It does not see the answers, so reading does no harm; what changes something refuses whatever a browser sends by
// itself (it marks each POST with Origin, and with Sec-Fetch-Site where it knows that), also with the password that it
// remembers for this address: POSTs of browsers are answered 403. A token in `Authorization: Bearer` is sent by no
// browser by itself: who has it is let through. (2) A page whose owner turns its own name to this address would see the
// answers: 421 (answer_own_hosts_only). (3) Where other machines, or all users of this one, reach the listener, they
// must know the token. /healthz and /readyz are answered without: they tell no more than a closed port would, and
// probes have no place for secrets.
//
// Basic with the token as password is for people's browsers, which ask for it (RFC 7617); the name does not matter.
#include <memory>
#include <string>
#include <vector>

#include "core/http/filter.hpp"
#include "core/http/site/site.hpp"
#include "core/metric/metrics.hpp"
#include "core/metric/registry.hpp"
#include "daemon/admin/admin_token.hpp"

namespace fiberd::daemon {

/// Around all of the listener's answers: no cache may keep them, no page may show them as another type or in a frame,
/// and none of them runs anything (Content-Security-Policy, where a page has none of its own).
[[nodiscard]] std::shared_ptr<http::Filter> make_admin_fields();

struct AdminGuardOptions {
  std::shared_ptr<AdminToken> token;    ///< null: nobody needs one
  std::vector<std::string> hosts{};     ///< of SiteOptions: who asks for others is answered 421 before he is asked
  bool address_hosts = false;           ///< likewise
  metric::Counter* no_token = nullptr;  ///< refused; may be null
  metric::Counter* wrong_token = nullptr;
};
/// Around all of the listener's requests. Without a token: null.
[[nodiscard]] std::shared_ptr<http::Filter> make_admin_guard(AdminGuardOptions options);

struct PostGuardOptions {
  std::string path;                    ///< for the log
  metric::Counter* posts = nullptr;    ///< let through; may be null
  metric::Counter* browser = nullptr;  ///< refused; may be null
};
/// Of a route that takes POST; other methods pass. Each POST is logged with who asked for it and what came of it.
[[nodiscard]] std::shared_ptr<http::Filter> make_post_guard(PostGuardOptions options);

}  // namespace fiberd::daemon

#pragma once
// POST /upgrade of the admin listener. The body says what is wanted, a line each: "binary PATH", "signature PATH",
// "rollback_after TIME"; an empty one: this process's own file, anew.
#include <chrono>
#include <string>

#include "core/http/site/site.hpp"
#include "daemon/admin/admin.hpp"
#include "daemon/upgrade/upgrader.hpp"

namespace fiberd::daemon::upgrade {

inline constexpr std::chrono::nanoseconds kShortestStandby = std::chrono::seconds(1);
inline constexpr std::chrono::nanoseconds kLongestStandby = std::chrono::hours(1);

[[nodiscard]] std::string render_request(const Request& request);
/// False: `why` says what cannot be understood.
[[nodiscard]] bool parse_request(std::string_view body, Request& request, std::string& why);

/// Answered 200 (the new process serves), 422 (it cannot be tried: its file, its signature), 403 (no program may be
/// named where everybody may ask), 409 (there is an upgrade under way), 502 (it was not to be had, not ready, or rolled
/// back; this process goes on), 503 (the daemon stops).
[[nodiscard]] http::Route page(const AdminState& state);

}  // namespace fiberd::daemon::upgrade

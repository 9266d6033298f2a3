#pragma once
// The admin pages of profiles: /debug/pprof/ and what is below it but for the fibers' own pages (fiber_pages.hpp), and
// /debug/flame, which draws any of them. Which there are: profile_sources(); whoever collects something that has stacks
// adds a line there and has pprof's protobuf, text, differences over a time and a flame graph.
#include <functional>
#include <string>
#include <vector>

#include "core/http/server.hpp"
#include "core/observe/pprof_profile.hpp"

namespace fiberd::daemon {

struct ProfileSource {
  std::string name;  ///< /debug/pprof/NAME, /debug/flame?profile=NAME
  std::string help;  ///< what it shows: a line of the index
  /// What there is now. On the blocking pool, by several at once; may throw std::bad_alloc.
  std::function<Result<observe::PprofProfile>()> take;
  /// Its values only grow: with ?seconds=N what came in the next N seconds is told.
  bool grows = false;
  /// Its page stands elsewhere; here it is listed and drawn.
  bool own_page = false;
};

/// All but the CPU's, which is not what there is now.
[[nodiscard]] std::vector<ProfileSource> profile_sources();

/// GET, and POST for /debug/pprof/symbol; nothing is changed. Of each source: ?debug=1 text, else pprof's protobuf.
/// /debug/pprof/profile?seconds=N (30; 1 … 300) samples CPU time and answers 409 while another one does.
/// /debug/flame?profile=NAME&seconds=N&type=TYPE: SVG. What is asked wrongly is answered 400 with what can be asked.
[[nodiscard]] std::vector<http::Route> profile_pages();

}  // namespace fiberd::daemon

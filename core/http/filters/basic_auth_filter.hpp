#pragma once
// Basic authentication (RFC 7617) against a password file.
//
// What a request costs. Without credentials: nothing. With ones that were right less than a minute ago: two keyed
// hashes. Else a slow hash, on the blocking pool and never on a Processor: at most `concurrency` at once, so that files
// and other blocking calls go on, and at most `max_waiting` requests in line; who comes then is answered 503. So
// somebody who tries passwords can make others who log in at that moment wait, and nothing else: who was in stays in.
//
// The file is looked at once a second at most, when a request comes, and read again when it is another; then nothing
// that was known before counts. One that cannot be read, or is wrong, is said in the log, and the last good one stays.
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/result.hpp"
#include "core/http/filter.hpp"
#include "core/metric/metrics.hpp"

namespace fiberd::http {

/// The slot in which the filter leaves who it is.
struct AuthenticatedUser {
  std::string name{};
};

struct BasicAuthMetrics {
  metric::Counter* refused = nullptr;  ///< 401 for credentials that were wrong
  metric::Counter* overloaded =
      nullptr;                        ///< 503: no verdict in time (max_waiting, the request's deadline) or no thread
  metric::Counter* hashed = nullptr;  ///< passwords that were hashed
  metric::Counter* file_errors = nullptr;  ///< files that were changed and not taken
  metric::Counter* challenged = nullptr;   ///< 401 for requests without credentials: also the first of each browser
};

/// A short text without quotes, backslashes and control characters.
[[nodiscard]] bool is_realm(std::string_view text) noexcept;

struct BasicAuthOptions {
  std::string file;                                               ///< htpasswd.hpp says which hashes
  std::string realm = "restricted";                               ///< what the browser shows
  std::chrono::nanoseconds keep = std::chrono::seconds(60);       ///< a right password is known for; 0: never
  std::chrono::nanoseconds keep_wrong = std::chrono::seconds(5);  ///< a wrong one
  std::size_t kept = 4096;                                        ///< how many of each
  std::size_t concurrency = 2;                                    ///< ≥ 1
  std::size_t max_waiting = 64;                                   ///< with those that are hashed now
  BasicAuthMetrics metrics{};
  /// Lives as long as somebody may still count: that may be a look at the file that has outlived the filter.
  std::shared_ptr<const void> keeps{};
};
/// Reads the file: blocks. Answers 401 with WWW-Authenticate, or leaves the slot AuthenticatedUser and goes on. Errors:
/// invalid_argument (`why`, if given, says what: the file's line, the realm), the system's. Throws std::bad_alloc.
[[nodiscard]] Result<std::shared_ptr<Filter>> make_basic_auth_filter(BasicAuthOptions options,
                                                                     std::string* why = nullptr);

}  // namespace fiberd::http

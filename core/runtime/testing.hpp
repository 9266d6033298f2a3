#pragma once
// For tests of programs on fiberd: that no fiber outlives what started it, as Go's goleak.
//
//   testing::expect_no_leaks([&] { server.serve_one(request); });   // throws LeakError with each fiber that is left
//
//   const auto check = testing::expect_no_leaks();                  // or: from here …
//   …
//   REQUIRE(check.leaks() == "");                                   // … to here, in the words of any test framework
#include <chrono>
#include <concepts>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace fiberd::testing {

struct LeakCheckOptions {
  /// How long fibers that are on their way out are waited for.
  std::chrono::nanoseconds patience = std::chrono::seconds(1);
  /// Names of fibers that may go on.
  std::vector<std::string> ignore{};
};

/// what() is as LeakCheck::leaks() says.
class LeakError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Knows which fibers there were when it was made. Any thread or fiber, one at a time; the runtime must live. Several
/// tests at the same time in one runtime see each other's fibers.
class [[nodiscard]] LeakCheck {
 public:
  /// Throws std::bad_alloc.
  explicit LeakCheck(LeakCheckOptions options = {});
  /// Waits, on a fiber by parking, until the fibers are gone that were spawned since, or patience is over. Empty: they
  /// are gone. Otherwise each of them with its name, state, what it waits for, stack and spawn site; of the first
  /// hundred. Throws std::bad_alloc.
  [[nodiscard]] std::string leaks() const;
  /// Throws LeakError unless leaks() is empty.
  void check() const {
    if (std::string left = leaks(); !left.empty()) throw LeakError(left);
  }

 private:
  LeakCheckOptions options_;
  std::vector<std::uint64_t> before_;  // ids, sorted
};

/// From here on: ask what it returns.
inline LeakCheck expect_no_leaks(LeakCheckOptions options = {}) { return LeakCheck(std::move(options)); }

/// Calls `fn`, and throws LeakError when fibers are left that were spawned meanwhile. Throws what `fn` throws.
template <std::invocable F>
void expect_no_leaks(F&& fn, LeakCheckOptions options = {}) {
  const LeakCheck check(std::move(options));
  std::forward<F>(fn)();
  check.check();
}

}  // namespace fiberd::testing

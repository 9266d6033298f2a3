#include <catch2/catch.hpp>
#include <string>

#include "core/base/bug.hpp"
#include "core/base/log.hpp"

namespace {
std::string last;
fiberd::LogLevel last_level{};
void remember(fiberd::LogLevel level, std::string_view message) noexcept {
  last_level = level;
  last = message;
}
struct Installed {
  Installed() { fiberd::set_log_sink(&remember); }
  ~Installed() { fiberd::set_log_sink(nullptr); }
};
}  // namespace

TEST_CASE("the log goes to the installed sink", "[base]") {
  const Installed installed;
  fiberd::log(fiberd::LogLevel::warning, "one line");
  CHECK(last == "one line");
  CHECK(last_level == fiberd::LogLevel::warning);
}

TEST_CASE("a condition that holds is no bug", "[base]") {
  const auto before = fiberd::bug_count();
  const int one = 1;
  CHECK_FALSE(FIBERD_BUG_IF(one != 1));
  CHECK(fiberd::bug_count() == before);
}

#ifdef NDEBUG  // a debug build stops at the first bug
TEST_CASE("a bug is counted and logged with its place", "[base]") {
  const Installed installed;
  const auto before = fiberd::bug_count();
  const int one = 1;
  CHECK(FIBERD_BUG_IF(one == 1));
  CHECK(fiberd::bug_count() == before + 1);
  CHECK(last_level == fiberd::LogLevel::error);
  CHECK(last.find("BUG: one == 1 at ") == 0);
  CHECK(last.find("log_and_bug_test.cpp:") != std::string::npos);
  fiberd::report_bug(std::string(2'000, 'x').c_str());
  CHECK(last.size() < 512);
}
#endif

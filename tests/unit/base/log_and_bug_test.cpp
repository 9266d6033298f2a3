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
// Places in other rooms: for these lines the compiler is told other names.
#line 1 "core/net/x.cpp"
constexpr fiberd::SourceLocation kInNet = fiberd::SourceLocation::current();
#line 1 "core/http/x.cpp"
constexpr fiberd::SourceLocation kInHttp = fiberd::SourceLocation::current();
#line 24 "tests/unit/base/log_and_bug_test.cpp"

}  // namespace

TEST_CASE("the log goes to the installed sink", "[base]") {
  const Installed installed;
  fiberd::log(fiberd::LogLevel::warning, "one line");
  CHECK(last == "one line");
  CHECK(last_level == fiberd::LogLevel::warning);
}

TEST_CASE("a line is of the room whose source logs it", "[base]") {
  using fiberd::log_module_of;
  using fiberd::LogModule;
  CHECK(log_module_of("core/base/bug.cpp") == LogModule::base);
  CHECK(log_module_of("core/http/h1/connection.cpp") == LogModule::http);
  CHECK(log_module_of("/usr/include/fiberd/core/flow/sometimes.hpp") == LogModule::flow);
  CHECK(log_module_of("/home/fiberd/core/fiberd/core/net/listener.hpp") == LogModule::net);
  CHECK(log_module_of("config/load.cpp") == LogModule::daemon);
  CHECK(log_module_of("daemon/admin/admin.cpp") == LogModule::daemon);
  for (const char* const other : {"", "core/", "core/x", "core/nothing/x.cpp", "shop.cpp", "/src/score/http/x.cpp"})
    CHECK(log_module_of(other) == LogModule::program);
}

TEST_CASE("what is below its module's level does not get to the sink", "[base]") {
  const Installed installed;
  last.clear();
  fiberd::set_log_level(fiberd::LogModule::net, fiberd::LogLevel::warning);
  fiberd::log(fiberd::LogLevel::info, "quiet", kInNet);
  CHECK(last.empty());
  CHECK_FALSE(fiberd::logs(fiberd::LogModule::net, fiberd::LogLevel::info));
  fiberd::log(fiberd::LogLevel::warning, "a warning", kInNet);
  CHECK(last == "a warning");
  // What nobody has set is info: a program that only links the core has no line for each request that is refused.
  fiberd::log(fiberd::LogLevel::debug, "a detail", kInHttp);
  CHECK(last == "a warning");
  fiberd::log(fiberd::LogLevel::info, "another room", kInHttp);
  CHECK(last == "another room");
  fiberd::set_log_level(fiberd::LogModule::net, fiberd::LogLevel::debug);
  fiberd::log(fiberd::LogLevel::debug, "loud", kInNet);
  CHECK(last == "loud");
  fiberd::set_log_level(fiberd::LogModule::net, fiberd::LogLevel::info);
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

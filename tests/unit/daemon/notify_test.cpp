// What a service manager is told, read at its end of a real socket.
#include "daemon/notify.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/daemon.hpp"
#include "tests/support/kept_log.hpp"
#include "tests/support/notify_socket.hpp"

using namespace fiberd;
using namespace fiberd::daemon;
using namespace std::chrono_literals;
using fiberd::test::NotifySocket;
using fiberd::test::TemporaryDirectory;

namespace {

/// Of the kept log.
int lines_with(const std::string& what) {
  std::istringstream log(test::KeptLog::text());
  int found = 0;
  for (std::string line; std::getline(log, line);)
    if (line.find(what) != std::string::npos) ++found;
  return found;
}

}  // namespace

TEST_CASE("what is notified arrives as one datagram, at a path and at an abstract name") {
  const TemporaryDirectory directory;
  for (const std::string& address :
       {directory.path() + "/notify", "@fiberd-notify-test-" + std::to_string(::getpid())}) {
    const NotifySocket manager(address);
    Notifier notifier(address);
    CHECK(notifier.enabled());
    CHECK(notifier.address() == address);
    CHECK_FALSE(notifier.notify("READY=1\nSTATUS=serving"));
    CHECK(manager.next() == "READY=1\nSTATUS=serving");
    CHECK_FALSE(notifier.main_pid(4711));
    CHECK(manager.next() == "MAINPID=4711");
  }
}

TEST_CASE("descriptors go along and are the same open files") {
  const TemporaryDirectory directory;
  const NotifySocket manager(directory.path() + "/notify");
  Notifier notifier(manager.address());
  std::array<int, 2> pipe{};
  REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
  CHECK_FALSE(notifier.notify_with_fds("FDSTORE=1\nFDNAME=web", pipe));
  std::vector<int> got;
  CHECK(manager.next(&got) == "FDSTORE=1\nFDNAME=web");
  REQUIRE(got.size() == 2);
  struct stat sent {};
  struct stat received {};
  REQUIRE(::fstat(pipe[1], &sent) == 0);
  REQUIRE(::fstat(got[1], &received) == 0);
  CHECK(sent.st_ino == received.st_ino);
  for (const int fd : {pipe[0], pipe[1], got[0], got[1]}) ::close(fd);
  const std::vector<int> many(Notifier::kMostDescriptors + 1, STDIN_FILENO);
  CHECK(notifier.notify_with_fds("FDSTORE=1", many) == std::errc::argument_list_too_long);
}

TEST_CASE("a manager that is not there, or does not read, costs one warning and no long wait") {
  const TemporaryDirectory directory;
  const test::KeptLog kept;
  const std::string path = directory.path() + "/nobody";
  SECTION("no socket") {
    Notifier notifier(path);
    CHECK(notifier.notify("READY=1") == std::errc::no_such_file_or_directory);
    CHECK(notifier.notify("STATUS=x") == std::errc::no_such_file_or_directory);
    CHECK(lines_with("NOTIFY_SOCKET=" + path + ": nobody listens there") == 1);
    // One that comes later is told.
    const NotifySocket manager(path);
    CHECK_FALSE(notifier.notify("STATUS=y"));
    CHECK(manager.next() == "STATUS=y");
  }
  SECTION("no address") {
    for (const std::string& address :
         {std::string("vsock:2:1234"), std::string("@"), std::string("relative"), "/" + std::string(200, 'x'),
          std::string("@\nREADY=1") + std::string(200, 'x')}) {
      Notifier notifier(address);
      CHECK(notifier.notify("READY=1") == std::errc::invalid_argument);
    }
    CHECK(lines_with("no path of a Unix socket") == 5);
    CHECK(lines_with("@\\x0aREADY") == 1);
  }
  SECTION("a full queue") {
    const NotifySocket manager(path);
    Notifier notifier(path);
    std::error_code error;
    int sent = 0;
    for (; sent < 10'000 && !error; ++sent) error = notifier.notify("STATUS=x");
    CHECK(error == std::errc::resource_unavailable_try_again);
    CHECK(manager.next() == "STATUS=x");
    CHECK_FALSE(notifier.notify("STATUS=y"));
  }
  SECTION("none") {
    Notifier notifier("");
    CHECK_FALSE(notifier.enabled());
    CHECK_FALSE(notifier.notify("READY=1"));
    CHECK(lines_with("NOTIFY_SOCKET") == 0);
  }
}

TEST_CASE("more than a manager reads is not sent") {
  const TemporaryDirectory directory;
  const NotifySocket manager(directory.path() + "/notify");
  Notifier notifier(manager.address());
  CHECK(notifier.notify(std::string(Notifier::kMostBytes + 1, 'x')) == std::errc::message_size);
}

TEST_CASE("the manager's words in the environment are for this process alone") {
  ::setenv("NOTIFY_SOCKET", "/nowhere", 1);
  ::setenv("WATCHDOG_USEC", "3000000", 1);
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  const Notifier notifier = Notifier::from_environment();
  CHECK(notifier.address() == "/nowhere");
  CHECK(notifier.watchdog() == 3s);
  for (const char* const name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) CHECK(std::getenv(name) == nullptr);
}

TEST_CASE("a watchdog is ours when its number and its process are") {
  CHECK(watchdog_of({"", ""}, 7) == 0us);
  CHECK(watchdog_of({"5", ""}, 7) == 5us);
  CHECK(watchdog_of({"5", "7"}, 7) == 5us);
  CHECK(watchdog_of({"5", "8"}, 7) == 0us);
  CHECK(watchdog_of({"5", "x"}, 7) == 0us);
  for (const std::string_view wrong : {"0", "-1", "5s", "99999999999999999999", " 5"})
    CHECK(watchdog_of({wrong, ""}, 7) == std::nullopt);
}

TEST_CASE("a status is one short line of whole characters") {
  CHECK(status_text("serving\nMAINPID=1") == "serving\\x0aMAINPID=1");
  const std::string umlauts = [] {
    std::string text = "x";
    for (int i = 0; i < 300; ++i) text += "\xc3\xa4";
    return text;
  }();
  CHECK(status_text(umlauts) == umlauts.substr(0, 511));
  CHECK(status_text("\xff"
                    "x") == "\\xffx");
}

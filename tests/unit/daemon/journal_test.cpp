// The journal's own protocol, read at the other end of a real socket.
#include "daemon/journal.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/base/clock.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/notify_socket.hpp"

using namespace fiberd;
using namespace fiberd::daemon;
using fiberd::test::NotifySocket;
using fiberd::test::TemporaryDirectory;

namespace {

/// Of a line without its end.
std::string without_end(std::string line) {
  REQUIRE(line.ends_with('\n'));
  line.pop_back();
  REQUIRE(line.find('\n') == std::string::npos);
  return line;
}

std::string datagram(LogLevel level, std::string_view file, std::string_view message) {
  return journal_datagram(without_end(journal_line(level, {.file = file}, message)));
}

}  // namespace

TEST_CASE("an entry of the journal says how bad it is, where it comes from, and which listener it is about") {
  const std::string entry = datagram(LogLevel::error, "core/net/listener.cpp", "listener web: no more descriptors");
  CHECK(entry == std::string("PRIORITY=3\nSYSLOG_IDENTIFIER=") + program_invocation_short_name +
                     "\nMESSAGE=listener web: no more descriptors\nCODE_FILE=core/net/listener.cpp\nFIBERD_MODULE=net\n"
                     "FIBERD_LISTENER=web\n");
  CHECK(datagram(LogLevel::debug, "", "x").starts_with("PRIORITY=7\n"));
  CHECK(datagram(LogLevel::info, "", "x").starts_with("PRIORITY=6\n"));
  CHECK(datagram(LogLevel::warning, "", "x").starts_with("PRIORITY=4\n"));
  CHECK(datagram(LogLevel::info, "", "x").find("CODE_FILE") == std::string::npos);
  CHECK(datagram(LogLevel::info, "", "reload: listener web").find("FIBERD_LISTENER") == std::string::npos);
}

TEST_CASE("an entry says the line and the function that logs it, where they are known") {
  const std::string whole = journal_datagram(without_end(
      journal_line(LogLevel::info, {.file = "daemon/a.cpp", .line = 42, .function = "void a::b(int)"}, "x=\n=y")));
  CHECK(whole.find("\nCODE_FILE=daemon/a.cpp\nCODE_LINE=42\nCODE_FUNC=void a::b(int)\nFIBERD_MODULE=daemon\n") !=
        std::string::npos);
  const std::string file_alone = datagram(LogLevel::info, "daemon/a.cpp", "x");
  CHECK(file_alone.find("CODE_FILE=daemon/a.cpp\n") != std::string::npos);
  CHECK(file_alone.find("CODE_LINE") == std::string::npos);
  CHECK(file_alone.find("CODE_FUNC") == std::string::npos);
}

TEST_CASE("a message of several lines is one field, and cannot add another") {
  const std::string entry = datagram(LogLevel::info, "", "two\nPRIORITY=0\x1f\x1e");
  const std::string value = "two\nPRIORITY=0??";
  const std::string size{static_cast<char>(value.size()), 0, 0, 0, 0, 0, 0, 0};
  CHECK(entry.ends_with("MESSAGE\n" + size + value + "\n"));
  CHECK(prefixed_lines(without_end(journal_line(LogLevel::error, {.file = "f"}, "two\nlines"))) ==
        "<3>two\n<3>lines\n");
}

TEST_CASE("a message that is too long is cut between characters") {
  std::string text = "x";
  while (text.size() < kMostJournalMessage + 10) text += "\xc3\xa4";
  const std::string line = journal_line(LogLevel::info, {}, text);
  CHECK(line.ends_with("\xc3\xa4 [cut]\n"));
  CHECK(line.size() < kMostJournalMessage + 32);
}

TEST_CASE("an entry that no datagram takes goes as a sealed file") {
  const TemporaryDirectory directory;
  const NotifySocket journal(directory.path() + "/socket");
  const int fd = connect_to_journal(journal.address());
  REQUIRE(fd >= 0);
  CHECK_FALSE(send_to_journal(fd, "MESSAGE=short\n"));
  const std::int64_t before = monotonic_now();
  await_journal(fd);  // in vain
  CHECK(monotonic_now() - before >= 200'000'000);
  CHECK(journal.next() == "MESSAGE=short\n");
  const std::string large = "MESSAGE=" + std::string(4'000'000, 'x') + "\n";
  CHECK_FALSE(send_to_journal(fd, large));
  std::vector<int> files;
  CHECK(journal.next(&files).empty());
  REQUIRE(files.size() == 1);
  CHECK((::fcntl(files[0], F_GET_SEALS) & F_SEAL_WRITE) != 0);
  struct stat status {};
  REQUIRE(::fstat(files[0], &status) == 0);
  REQUIRE(static_cast<std::size_t>(status.st_size) == large.size());
  std::string got(large.size(), ' ');
  CHECK(::pread(files[0], got.data(), got.size(), 0) == static_cast<ssize_t>(got.size()));
  CHECK((got == large));
  ::close(files[0]);
  ::close(fd);
  CHECK(connect_to_journal(directory.path() + "/nobody") == -ENOENT);
}

TEST_CASE("a descriptor is the journal's when JOURNAL_STREAM names it") {
  struct stat status {};
  REQUIRE(::fstat(STDERR_FILENO, &status) == 0);
  const auto stream = [&](const std::string& value) {
    ::setenv("JOURNAL_STREAM", value.c_str(), 1);
    const bool is = is_journal_stream(STDERR_FILENO);
    CHECK(error_prefix() == (is ? "<3>" : ""));
    ::unsetenv("JOURNAL_STREAM");
    return is;
  };
  const std::string own = std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
  CHECK(stream(own));
  CHECK_FALSE(stream(std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino + 1)));
  for (const char* const wrong : {"", ":", "1", "1:", ":1", "a:b"}) CHECK_FALSE(stream(wrong));
  CHECK_FALSE(stream(own + "x"));
  CHECK_FALSE(is_journal_stream(STDERR_FILENO));
}

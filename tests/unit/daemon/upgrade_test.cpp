// The parts of an upgrade, each by itself: what the two processes say to each other, what is asked for, who is worse.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <string>

#include "core/base/clock.hpp"
#include "daemon/upgrade/channel.hpp"
#include "daemon/upgrade/page.hpp"
#include "daemon/upgrade/program.hpp"
#include "daemon/upgrade/standby.hpp"
#include "tests/support/daemon.hpp"

using namespace fiberd;
using namespace fiberd::daemon::upgrade;
using namespace std::chrono_literals;

namespace {
std::int64_t soon() { return monotonic_now() + 10'000'000'000; }
}  // namespace

TEST_CASE("a channel: messages keep their bounds and their descriptors", "[daemon][upgrade]") {
  Channel one;
  Channel other;
  REQUIRE(Channel::make(one, other));
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  REQUIRE(one.send("socket tcp nobody web 127.0.0.1:80", ends));
  REQUIRE(one.send("end"));
  ::close(ends[0]);
  ::close(ends[1]);
  const auto message = other.receive(soon());
  REQUIRE(message);
  CHECK(message->word() == "socket");
  CHECK(message->rest() == "tcp nobody web 127.0.0.1:80");
  REQUIRE(message->descriptors.size() == 2);
  CHECK((::fcntl(message->descriptors[0].get(), F_GETFD) & FD_CLOEXEC) != 0);
  REQUIRE(::write(message->descriptors[1].get(), "x", 1) == 1);
  char byte = 0;
  CHECK(::read(message->descriptors[0].get(), &byte, 1) == 1);
  const auto end = other.receive(soon());
  REQUIRE(end);
  CHECK(end->word() == "end");
  CHECK(end->rest().empty());
  CHECK(other.receive(monotonic_now()).error() == std::errc::timed_out);
  REQUIRE(one.send(std::string(100'000, 'x')));
  CHECK(other.receive(soon()).value().text.size() == Channel::kLongest);
  REQUIRE(one.send("last"));
  one.close();
  CHECK(other.receive(soon()).value().text == "last");
  CHECK(other.receive(soon()).error() == std::errc::broken_pipe);
  CHECK(other.send("x").error() == std::errc::broken_pipe);
}

TEST_CASE("a channel that nobody reads does not hold its sender for ever", "[daemon][upgrade]") {
  Channel one;
  Channel other;
  REQUIRE(Channel::make(one, other));
  const std::string text(8000, 'x');
  std::error_code error;
  for (int i = 0; i < 10'000 && !error; ++i) error = error_of(one.send(text));
  CHECK(error == std::errc::timed_out);
}

TEST_CASE("what is asked for goes over the wire and back; what is not understood is refused", "[daemon][upgrade]") {
  std::string why;
  Request request;
  REQUIRE(parse_request(render_request({"/usr/bin/fiberd new", "/tmp/x.sig", 90s}), request, why));
  CHECK(request.binary == "/usr/bin/fiberd new");
  CHECK(request.signature == "/tmp/x.sig");
  CHECK(request.rollback_after == 90s);
  Request nothing;
  CHECK(render_request(nothing).empty());
  CHECK(parse_request("", nothing, why));
  CHECK(nothing.binary.empty());
  for (const std::string& body :
       {std::string("binary fiberd"), std::string("binary"), std::string("signature x"),
        std::string("rollback_after 0s"), std::string("rollback_after 2h"), std::string("rollback_after x"),
        std::string("binaries /x"), std::string("binary /x\0y", 11)}) {
    Request refused;
    why.clear();
    INFO(body);
    CHECK(!parse_request(body, refused, why));
    CHECK(!why.empty());
  }
}

TEST_CASE("the new process is worse when it fails more, is sick or says nothing", "[daemon][upgrade]") {
  const Traffic before{1000, 10};
  SECTION("no worse") {
    Judge judge(before, 0);
    CHECK(judge.hear("ok 0 0", 1).empty());
    CHECK(judge.hear("ok 19 19", 1).empty());  // too few to tell
    CHECK(judge.hear("ok 1000 60", 1).empty());
    CHECK(judge.hear("bad 1000 60", 1).empty());
    CHECK(judge.hear("bad 1000 60", 1).empty());
    CHECK(judge.hear("ok 1000 60", 1).empty());
    CHECK(judge.hear("bad 1000 60", 1).empty());
    CHECK(judge.silence(Judge::kSilence).empty());
  }
  SECTION("more 5xx") {
    Judge judge(before, 0);
    CHECK(judge.hear("ok 20 2", 1).find("5xx") != std::string::npos);
  }
  SECTION("an old one that failed as much") {
    Judge judge({10, 10}, 0);
    CHECK(judge.hear("ok 1000 1000", 1).empty());
  }
  SECTION("sick") {
    Judge judge(before, 0);
    CHECK(judge.hear("bad 1 0", 1).empty());
    CHECK(judge.hear("bad 1 0", 1).empty());
    CHECK(judge.hear("bad 1 0", 1).find("/healthz") != std::string::npos);
  }
  SECTION("silent, or talking nonsense") {
    Judge judge(before, 5);
    for (const char* const report : {"", "ok", "ok 1", "ok x y", "ok 1 y", "  "}) CHECK(judge.hear(report, 10).empty());
    CHECK(judge.silence(5 + Judge::kSilence - 1).empty());
    CHECK(!judge.silence(5 + Judge::kSilence).empty());
  }
}

TEST_CASE("a program is opened if it may be run and nobody else may change it", "[daemon][upgrade]") {
  const fiberd::test::TemporaryDirectory directory;
  const std::string path = directory.write("program", "x");
  const auto why_not = [&](const std::string& file, const std::string& signature = {}) {
    Program program;
    std::string why;
    return open_program({file, signature, {}}, program, why) ? std::string() : why;
  };
  REQUIRE(::chmod(path.c_str(), 0755) == 0);
  CHECK(why_not(path).empty());
  CHECK(why_not(path, path + ".sig").find("upgrade.public_key") != std::string::npos);
  REQUIRE(::chmod(path.c_str(), 0775) == 0);
  CHECK(why_not(path).find("written to by others") != std::string::npos);
  REQUIRE(::chmod(path.c_str(), 0644) == 0);
  CHECK(why_not(path).find("executed") != std::string::npos);
  REQUIRE(::mkfifo((directory.path() + "/fifo").c_str(), 0755) == 0);
  CHECK(why_not(directory.path() + "/fifo").find("no regular file") != std::string::npos);
  CHECK(why_not("program").find("whole path") != std::string::npos);
}

// The flight recorder of a running daemon: its page, and the files that it leaves when something was slow.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/sanitized.hpp"
#include "tests/support/trace_file.hpp"

using namespace fiberd::test;

namespace {

std::string with_trace(const std::string& trace) {
  return "runtime: {gomaxprocs: 2}\nadmin: {address: \"127.0.0.1:0\"}\ntrace: {" + trace +
         "}\nlisteners:\n"
         "  - name: web\n    address: \"127.0.0.1:0\"\n    http:\n      routes:\n"
         "        - {path: /, respond: {body: hi}}\n"
         "        - {path: /echo, echo: {}}\n"
         "        - {path: /named/*, respond: {body: \"${rest}\"}}\n";
}

std::vector<std::string> files_in(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// A request that takes a while: its body comes late, as seen by the handler, who has asked for it.
void ask_slowly(HttpClient& client) {
  REQUIRE(client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"));
  while (client.rest().find("\r\n\r\n") == std::string::npos) REQUIRE(client.more());
  for (int i = 0; i < 20; ++i) pause_between_polls();
  const auto answer = client.ask("xy");
  REQUIRE(answer);
  CHECK(answer->status == 200);
}

/// A client for whom the next so many seconds are recorded; null: it did not begin. Who asks whether it has may be the
/// one for whom a trace is written just then, and what was to be recorded is refused: again.
std::unique_ptr<HttpClient> begin_recording(const Daemon& daemon, int seconds) {
  for (int i = 0; i < 20; ++i) {
    auto admin = std::make_unique<HttpClient>(daemon.port("admin"));
    if (!admin->send("GET /debug/trace?seconds=" + std::to_string(seconds) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"))
      return nullptr;
    pause_between_polls();
    if (eventually([&] { return daemon.admin_status("/debug/trace") == 409; }, std::chrono::seconds(1))) return admin;
  }
  return nullptr;
}

}  // namespace

TEST_CASE("/debug/trace tells what the recorder holds, and what it records for a while", "[integration][trace]") {
  Daemon daemon(with_trace("buffer: 256KiB"));
  HttpClient client(daemon.port("web"));
  for (int i = 0; i < 20; ++i) REQUIRE(client.ask(get("/")));
  REQUIRE(client.ask(get("/nowhere"))->status == 404);
  const TraceFile held(daemon.admin("/debug/trace"));
  INFO(held.all_problems());
  CHECK(held.problems.empty());
  const auto requests = held.slices_named("/");
  CHECK(requests.size() >= 20);
  for (const auto& r : requests) CHECK(r.category == "request");
  CHECK(held.slices_named("no route").size() == 1);
  CHECK(held.slices_named("/nowhere").empty());
  CHECK(held.events_named("answer").back().notes.count("status") == 1);
  CHECK_FALSE(held.events_named("netpoll").empty());

  // One at a time; what is recorded begins with the request for it.
  const auto admin = begin_recording(daemon, 1);
  REQUIRE(admin);
  REQUIRE(client.ask(get("/named/while")));
  const auto recorded = admin->ask("");
  REQUIRE(recorded);
  REQUIRE(recorded->status == 200);
  const TraceFile while_asked(recorded->body);
  INFO(while_asked.all_problems());
  CHECK(while_asked.problems.empty());
  CHECK(while_asked.slices_named("/named/*").size() == 1);
  CHECK(while_asked.slices_named("no route").empty());
  CHECK(daemon.admin_status("/debug/trace") == 200);

  CHECK(daemon.admin_status("/debug/trace?seconds=61") == 400);
  CHECK(daemon.admin_status("/debug/trace?seconds=x") == 400);
  CHECK(daemon.admin_status("/debug/trace?seconds=-1") == 400);
  CHECK(daemon.metric("fiberd_trace_bytes").value_or(0) > 0);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("without a buffer there is no trace, and the configuration says what needs one", "[integration][trace]") {
  Daemon daemon(with_trace("buffer: 0"));
  CHECK(daemon.admin_status("/debug/trace") == 501);
  CHECK(daemon.stop() == 0);
  const TemporaryDirectory directory;
  const auto check = [&](const std::string& trace) {
    return run({FIBERD_BINARY, "check", directory.write("fiberd.yaml", with_trace(trace))});
  };
  CHECK(check("on_latency: 1s, directory: " + directory.path()).code == 0);
  for (const auto& [trace, said] : std::vector<std::pair<std::string, std::string>>{
           {"on_latency: 1s", "needs trace.directory"},
           {"on_stall: true", "needs trace.directory"},
           {"buffer: 0, on_latency: 1s, directory: /tmp", "needs a trace.buffer"},
           {"directory: /tmp", "neither is set"},
           {"buffer: 1KiB", "32KiB at least"}}) {
    const auto refused = check(trace);
    INFO(trace << ": " << refused.errors << refused.output);
    CHECK(refused.code == 2);
    CHECK((refused.errors + refused.output).find(said) != std::string::npos);
  }
}

TEST_CASE("a request of trace.on_latency leaves a file, whole and under its own name; no more of them than max_files",
          "[integration][trace]") {
  const TemporaryDirectory directory;
  directory.write("fiberd-trace-20200101T000000Z-1-1-latency.pftrace", "an old one");
  directory.write("fiberd-trace-20200101T000000Z-1-2-latency.pftrace.part", "of a daemon that was killed");
  directory.write("somebody-else's", "text");
  Daemon daemon(with_trace("on_latency: 5ms, max_files: 2, interval: 0s, directory: \"" + directory.path() + "\""));
  const std::string written = "fiberd_trace_files_total{cause=\"latency\"}";
  HttpClient client(daemon.port("web"));
  for (int i = 1; i <= 3; ++i) {
    ask_slowly(client);
    REQUIRE(eventually([&] { return daemon.metric(written).value_or(0) >= i; }));
  }
  const auto names = files_in(directory.path());
  REQUIRE(names.size() == 3);
  CHECK(names[2] == "somebody-else's");
  for (int i = 0; i < 2; ++i) {
    const std::string& name = names[static_cast<std::size_t>(i)];
    CHECK(name.ends_with("-latency.pftrace"));
    CHECK(name.find("20200101") == std::string::npos);
    const TraceFile trace(read_file(directory.path() + "/" + name));
    INFO(trace.all_problems());
    CHECK(trace.problems.empty());
    const auto slow = trace.slices_named("/echo");
    REQUIRE_FALSE(slow.empty());
    CHECK(slow.back().to - slow.back().from >= 4'000'000);
  }
  CHECK(daemon.wait_for_log("a request took trace.on_latency or longer"));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("requests of the admin listener are no reason to keep a trace: some last as long as they were asked to",
          "[integration][trace]") {
  const TemporaryDirectory directory;
  Daemon daemon(with_trace("on_latency: 5ms, interval: 0s, directory: \"" + directory.path() + "\""));
  const std::string written = "fiberd_trace_files_total{cause=\"latency\"}";
  CHECK(daemon.admin_status("/debug/trace?seconds=1") == 200);
  HttpClient client(daemon.port("web"));
  ask_slowly(client);
  REQUIRE(eventually([&] { return daemon.metric(written).value_or(0) >= 1; }));
  CHECK(daemon.stop() == 0);
  CHECK(files_in(directory.path()).size() == 1);
}

TEST_CASE("a stop does not wait for a trace, which ends with it and is whole", "[integration][trace]") {
  Daemon daemon("shutdown: {timeout: 20s}\n" + with_trace("buffer: 256KiB"));
  const auto admin = begin_recording(daemon, 60);
  REQUIRE(admin);
  CHECK(daemon.stop() == 0);  // not 1: "the stop did not end at shutdown.timeout"
  const auto recorded = admin->ask("");
  REQUIRE(recorded);
  CHECK(recorded->status == 200);
  const TraceFile trace(recorded->body);
  INFO(trace.all_problems());
  CHECK(trace.problems.empty());
}

TEST_CASE("what a process left that was killed while it wrote a trace goes with the next one", "[integration][trace]") {
  const TemporaryDirectory directory;
  directory.write("fiberd-trace-20200101T000000Z-1-1-latency.pftrace.part", "cut");
  directory.write("somebody-else's.pftrace.part", "text");
  // It is being written.
  const std::string other = directory.write("fiberd-trace-20200101T000000Z-1-2-stall.pftrace.part", "begun");
  const int lock = ::open(other.c_str(), O_WRONLY | O_CLOEXEC);
  REQUIRE(lock >= 0);
  REQUIRE(::flock(lock, LOCK_EX | LOCK_NB) == 0);
  Daemon daemon(with_trace("on_latency: 5ms, interval: 0s, max_files: 1, directory: \"" + directory.path() + "\""));
  HttpClient client(daemon.port("web"));
  ask_slowly(client);
  REQUIRE(eventually([&] { return daemon.metric("fiberd_trace_files_total{cause=\"latency\"}").value_or(0) >= 1; }));
  CHECK(daemon.stop() == 0);
  ::close(lock);
  const auto names = files_in(directory.path());
  REQUIRE(names.size() == 3);
  CHECK(names[0] == "fiberd-trace-20200101T000000Z-1-2-stall.pftrace.part");
  CHECK(names[1].ends_with("-latency.pftrace"));
  CHECK(names[2] == "somebody-else's.pftrace.part");
}

TEST_CASE("files that come too soon, or cannot be written whole, are counted, and nothing is left of them",
          "[integration][trace]") {
  const TemporaryDirectory directory;
  const std::string into = ", directory: \"" + directory.path() + "/gone\"";
  std::filesystem::create_directory(directory.path() + "/gone");
  const std::string errors = "fiberd_trace_files_refused_total{reason=\"error\"}";
  {
    Daemon daemon(with_trace("on_latency: 5ms, interval: 0s" + into));
    std::filesystem::remove(directory.path() + "/gone");
    HttpClient client(daemon.port("web"));
    for (int i = 1; i <= 3; ++i) {
      ask_slowly(client);
      REQUIRE(eventually([&] { return daemon.metric(errors).value_or(0) >= i; }));
    }
    // Said once.
    const std::string log = daemon.log();
    const std::size_t at = log.find("no file can be made");
    REQUIRE(at != std::string::npos);
    CHECK(log.find("no file can be made", at + 1) == std::string::npos);
    CHECK(daemon.stop() == 0);
  }
  std::filesystem::create_directory(directory.path() + "/gone");
  {
    // A disk that is full after some KiB.
    const std::string program =
        directory.write("full", "#!/bin/sh\ntrap '' XFSZ\nulimit -f 16\nexec " FIBERD_BINARY " \"$@\"\n");
    REQUIRE(::chmod(program.c_str(), 0700) == 0);
    // None is asked for before what is recorded is more than the disk takes.
    Daemon daemon(with_trace("on_latency: 1h, interval: 0s" + into), {.program = program});
    HttpClient client(daemon.port("web"));
    for (int i = 0; i < 200; ++i) REQUIRE(client.ask(get("/")));
    daemon.write_config(with_trace("on_latency: 5ms, interval: 0s" + into));
    daemon.process().signal(SIGHUP);
    REQUIRE(eventually([&] { return daemon.metric("fiberd_config_reloads_total{result=\"success\"}") == 1.0; }));
    ask_slowly(client);
    REQUIRE(eventually([&] { return daemon.metric(errors).value_or(0) >= 1; }));
    CHECK(daemon.stop() == 0);  // another one may be under way
    CHECK(files_in(directory.path() + "/gone").empty());
  }
  {
    Daemon daemon(with_trace("on_latency: 5ms, interval: 1h" + into));
    HttpClient client(daemon.port("web"));
    ask_slowly(client);
    REQUIRE(eventually([&] { return daemon.metric("fiberd_trace_files_total{cause=\"latency\"}") == 1.0; }));
    ask_slowly(client);
    CHECK(eventually(
        [&] { return daemon.metric("fiberd_trace_files_refused_total{reason=\"interval\"}").value_or(0) >= 1; }));
    CHECK(files_in(directory.path() + "/gone").size() == 1);
    CHECK(daemon.stop() == 0);
  }
}

TEST_CASE("HEAD of a trace records nothing, and keeps nobody from his", "[integration][trace]") {
  Daemon daemon(with_trace("buffer: 256KiB"));
  HttpClient client(daemon.port("admin"));
  for (const char* page : {"/debug/trace?seconds=60", "/debug/fibers?debug=2", "/debug/fibers?debug=1"}) {
    INFO(page);
    REQUIRE(client.send("HEAD " + std::string(page) + " HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    const auto answer = client.receive(true);
    REQUIRE(answer);
    CHECK(answer->status == 200);
  }
  CHECK_FALSE(daemon.admin("/debug/trace").empty());
}

TEST_CASE("the binary has its USDT probes", "[integration][trace]") {
  const auto notes = run({"readelf", "-n", FIBERD_BINARY});
  REQUIRE(notes.code == 0);
  for (const char* probe : {"fiber__spawn", "fiber__park", "fiber__ready", "request__start", "request__done",
                            "conn__accept", "conn__close"}) {
    INFO(probe);
    const std::size_t at = notes.output.find("Name: " + std::string(probe) + "\n");
    REQUIRE(at != std::string::npos);
    CHECK(notes.output.rfind("Provider: fiberd\n", at) != std::string::npos);
    // With arguments, each a size and a place.
    const std::size_t arguments = notes.output.find("Arguments: ", at);
    REQUIRE(arguments != std::string::npos);
    CHECK(notes.output.find('@', arguments) < notes.output.find('\n', arguments));
  }
}

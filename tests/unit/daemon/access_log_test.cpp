// Lines are whole and valid whatever a client sends, and what is lost is counted line by line.
#include "daemon/access_log.hpp"

#include <limits.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/base/clock.hpp"
#include "core/metric/registry.hpp"
#include "daemon/line_writer.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/json.hpp"

using namespace fiberd;
using daemon::AccessFormat;
using daemon::AccessLine;
using daemon::AccessLog;
using test::Json;
using namespace std::chrono_literals;

namespace {

struct Counted {
  metric::Registry registry;
  metric::Counter& dropped = registry.counter(registry.family({.name = "dropped_total", .help = "h"}));
};

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    result.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return result;
}

http::AccessRecord record(std::string_view target, const net::Endpoint& peer) {
  http::AccessRecord r{};
  r.peer = &peer;
  r.method = "GET";
  r.target = target;
  r.user_agent = "agent";
  r.referer = "";
  r.protocol = "HTTP/1.1";
  r.status = 200;
  r.body_bytes = 5;
  r.duration_ns = 1000;
  return r;
}

/// A log with its writer.
class Written {
 public:
  Written(AccessFormat format, const std::string& file, const std::string& listener, metric::Counter* dropped)
      : log_(std::make_shared<AccessLog>(AccessLine::make(format, listener).value(), dropped)) {
    std::string why;
    auto opened = daemon::LineWriter::open({.output = file, .look_every = 200ms}, why);
    REQUIRE(opened.has_value());
    writer_ = std::move(*opened);
    REQUIRE(writer_->add(log_));
    REQUIRE_FALSE(writer_->start());
  }
  ~Written() { (void)writer_->stop(10s, monotonic_now() + 10'000'000'000); }
  Written(const Written&) = delete;
  Written& operator=(const Written&) = delete;
  void write(const http::AccessRecord& record) { log_->write(record); }
  /// Returns when all has been written or lost.
  void drain() { REQUIRE(writer_->flush(30s)); }

 private:
  std::shared_ptr<AccessLog> log_;
  std::unique_ptr<daemon::LineWriter> writer_;
};

/// Files of this process end there; what goes beyond fails as on a disk that is full.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    signal_ = ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit now{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &now);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, signal_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  void (*signal_)(int) = nullptr;
};

}  // namespace

TEST_CASE("JSON lines are valid however long a client's fields are, and say what was cut", "[daemon][access_log]") {
  const test::TemporaryDirectory directory;
  const std::string file = directory.path() + "/access.log";
  const net::Endpoint peer = net::Endpoint::v4(0x7f000001, 1);
  // Each byte of the last becomes six; the one before ends in the middle of an escape.
  const std::string quotes(3000, '"');
  const std::string odd = "x" + std::string(3000, '\\');
  const std::string bytes(2000, '\xff');
  {
    Counted counted;
    Written log(AccessFormat::json, file, "a \"web\"", &counted.dropped);
    log.write(record("/short", peer));
    for (const std::string& text : {quotes, odd, bytes, std::string(60'000, 'u')}) {
      http::AccessRecord r = record(text, peer);
      r.user_agent = r.referer = text;
      r.method = text;
      log.write(r);
      r = record("/target", peer);
      r.user_agent = text;
      log.write(r);
    }
    log.drain();
    CHECK(counted.dropped.value() == 0);
  }
  const std::vector<std::string> all = lines(test::read_file(file));
  REQUIRE(all.size() == 9);
  std::size_t longest = 0;
  for (const std::string& line : all) {
    INFO(line);
    CHECK(Json::valid(line));
    CHECK(line.find("\"status\":200,\"bytes\":5,\"duration_us\":1") != std::string::npos);
    longest = std::max(longest, line.size());
  }
  // A pipe takes each in one piece.
  CHECK(longest < PIPE_BUF);
  CHECK(longest > PIPE_BUF / 2);
  CHECK(all[0].find("truncated") == std::string::npos);
  for (std::size_t i = 1; i < all.size(); i += 2) {
    CHECK(all[i].ends_with("\"truncated\":[\"method\",\"target\",\"user_agent\",\"referer\"]}"));
    CHECK(all[i + 1].ends_with("\"truncated\":[\"user_agent\"]}"));
  }
}

TEST_CASE("common lines are whole however long the target is", "[daemon][access_log]") {
  const test::TemporaryDirectory directory;
  const std::string file = directory.path() + "/access.log";
  const net::Endpoint peer = net::Endpoint::v4(0x7f000001, 1);
  Written log(AccessFormat::common, file, "web", nullptr);
  log.write(record("/" + std::string(60'000, 't'), peer));
  log.drain();
  const std::string text = test::read_file(file);
  CHECK(text.starts_with("127.0.0.1 - - ["));
  CHECK(text.ends_with("ttt... HTTP/1.1\" 200 5\n"));
}

TEST_CASE("each line that cannot be written is counted", "[daemon][access_log]") {
  Counted counted;
  const net::Endpoint peer = net::Endpoint::v4(0x7f000001, 1);
  Written log(AccessFormat::json, "/dev/full", "web", &counted.dropped);
  for (int i = 0; i < 100; ++i) log.write(record("/", peer));
  log.drain();
  CHECK(counted.dropped.value() == 100);
  log.write(record("/", peer));
  log.drain();
  CHECK(counted.dropped.value() == 101);
}

TEST_CASE("a disk that fills up within a line: what was lost is counted, and the next line begins a line",
          "[daemon][access_log]") {
  const net::Endpoint peer = net::Endpoint::v4(0x7f000001, 1);
  // The ring is 1 MiB; lines of this length go over its end within a line. The limits are within lines before and
  // behind that, at a line's end, and at the ring's end itself.
  const std::string target = "/" + std::string(700, 't');
  constexpr std::size_t kRing = 1U << 20U;
  for (const std::size_t limit : {kRing - 100'000, kRing - 1, kRing, kRing + 1, kRing + 100'000}) {
    const test::TemporaryDirectory directory;
    const std::string file = directory.path() + "/access.log";
    Counted counted;
    Written log(AccessFormat::json, file, "web", &counted.dropped);
    std::size_t sent = 0;
    {
      const FileSizeLimit full(limit);
      for (int part = 0; part < 3; ++part) {
        for (int i = 0; i < 600; ++i, ++sent) log.write(record(target, peer));
        log.drain();
      }
    }
    for (int i = 0; i < 10; ++i, ++sent) log.write(record("/after", peer));
    log.drain();
    std::size_t valid = 0;
    std::size_t after = 0;
    std::size_t broken = 0;
    for (const std::string& line : lines(test::read_file(file))) {
      ++(Json::valid(line) ? valid : broken);
      if (line.find("/after") != std::string::npos && Json::valid(line)) ++after;
    }
    INFO(limit);
    CHECK(after == 10);
    CHECK(broken <= 1);
    CHECK(counted.dropped.value() > 0);
    CHECK(valid + counted.dropped.value() == sent);
  }
}

TEST_CASE("logs come to an output and leave it while its writer runs: nothing is lost, and a writer without logs ends",
          "[daemon][access_log]") {
  const test::TemporaryDirectory directory;
  const std::string file = directory.path() + "/log";
  const net::Endpoint peer = net::Endpoint::v4(0x7f000001, 1);
  daemon::AccessLogWriters writers;
  std::string why;
  auto first = std::make_shared<AccessLog>(AccessLine::make(AccessFormat::common, "one").value(), nullptr);
  REQUIRE(writers.add(file, first, why));
  REQUIRE_FALSE(writers.start());
  auto second = std::make_shared<AccessLog>(AccessLine::make(AccessFormat::common, "two").value(), nullptr);
  REQUIRE(writers.add(file, second, why));
  std::weak_ptr<AccessLog> gone = first;
  first->write(record("/first", peer));
  second->write(record("/second", peer));
  first.reset();  // with a line that may not be written yet
  CHECK(test::eventually([&] { return test::read_file(file).find("/first") != std::string::npos; }));
  CHECK(test::eventually([&] { return gone.expired(); }));
  writers.tidy();
  second->write(record("/third", peer));
  CHECK(test::eventually([&] { return test::read_file(file).find("/third") != std::string::npos; }));
  gone = second;
  second.reset();
  CHECK(test::eventually([&] {
    writers.tidy();
    return gone.expired();
  }));
  // The file is let go of: a writer that comes later opens it anew.
  ::unlink(file.c_str());
  auto third = std::make_shared<AccessLog>(AccessLine::make(AccessFormat::common, "three").value(), nullptr);
  REQUIRE(writers.add(file, third, why));
  third->write(record("/anew", peer));
  CHECK(test::eventually([&] { return test::read_file(file).find("/anew") != std::string::npos; }));
  writers.stop(std::chrono::seconds(1), INT64_MAX);
}

TEST_CASE("a writer whose last log goes closes its file and ends, whoever looks; the next log opens it anew",
          "[daemon][access_log]") {
  const test::TemporaryDirectory directory;
  const std::string file = directory.path() + "/log";
  const net::Endpoint peer = net::Endpoint::v4(0x7f000001, 1);
  const auto is_open = [&] {
    std::error_code gone;
    for (const auto& fd : std::filesystem::directory_iterator("/proc/self/fd"))
      if (std::filesystem::read_symlink(fd, gone).string().starts_with(file)) return true;
    return false;
  };
  const auto threads = [] {
    std::size_t n = 0;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task"))
      n += test::read_file(task.path().string() + "/comm") == "fiberd-access\n" ? 1U : 0U;
    return n;
  };
  daemon::AccessLogWriters writers;
  REQUIRE_FALSE(writers.start());
  std::string why;
  for (const char* target : {"/first", "/second", "/third"}) {
    CAPTURE(target);
    auto log = std::make_shared<AccessLog>(AccessLine::make(AccessFormat::common, "one").value(), nullptr);
    REQUIRE(writers.add(file, log, why));
    CHECK(is_open());
    CHECK(test::eventually([&] { return threads() == 1; }));  // it names itself
    log->write(record(target, peer));
    log.reset();
    CHECK(test::eventually([&] { return !is_open() && threads() == 0; }));
    CHECK(test::read_file(file).find(target) != std::string::npos);
  }
  writers.reopen();
  writers.stop(std::chrono::seconds(1), INT64_MAX);
}

TEST_CASE("logs come and go while their writer ends alone: none is left without one", "[daemon][access_log]") {
  const test::TemporaryDirectory directory;
  const std::string file = directory.path() + "/log";
  const net::Endpoint peer = net::Endpoint::v4(0x7f000001, 1);
  static constexpr int kLogs = 200;
  daemon::AccessLogWriters writers;
  REQUIRE_FALSE(writers.start());
  std::string why;
  for (int i = 0; i < kLogs; ++i) {
    auto log = std::make_shared<AccessLog>(AccessLine::make(AccessFormat::common, "one").value(), nullptr);
    REQUIRE(writers.add(file, log, why));
    log->write(record("/x", peer));
    // Now and then the writer is as far as to end.
    const std::weak_ptr<AccessLog> gone = log;
    log.reset();
    if (i % 20 == 0) REQUIRE(test::eventually([&] { return gone.expired(); }));
  }
  writers.stop(std::chrono::seconds(5), INT64_MAX);
  const std::string written = test::read_file(file);
  CHECK(std::count(written.begin(), written.end(), '\n') == kLogs);
}

TEST_CASE("which answers get a line: by path, by status, by chance", "[daemon][access_log]") {
  const net::Endpoint peer = net::Endpoint::v4(0x7f000001, 1);
  const auto line = [] { return AccessLine::make(AccessFormat::written, "web", "${target} ${status}").value(); };
  const auto written = [](AccessLog& log) {
    std::string text;
    std::array<char, 8192> room;
    while (const std::size_t n = log.take(room.data(), room.size())) text.append(room.data(), n);
    return text;
  };
  const auto say = [&](AccessLog& log, unsigned status) {
    http::AccessRecord r = record("/", peer);
    r.status = status;
    log.write(r);
  };
  AccessLog all(line(), nullptr);
  CHECK(all.hook().wants == nullptr);
  for (const unsigned status : {101U, 200U, 499U, 599U}) say(all, status);
  CHECK(written(all) == "/ 101\n/ 200\n/ 499\n/ 599\n");

  AccessLog some(line(), nullptr, {.only = {{400, 599}, {301, 301}}});
  for (const unsigned status : {101U, 200U, 300U, 301U, 302U, 399U, 400U, 499U, 500U, 599U}) say(some, status);
  CHECK(written(some) == "/ 301\n/ 400\n/ 499\n/ 500\n/ 599\n");

  AccessLog paths(line(), nullptr, {.not_paths = {"/healthz", "/static/*"}});
  const http::AccessLogHook hook = paths.hook();
  REQUIRE(hook.wants != nullptr);
  for (const char* path : {"/healthz", "/static/", "/static/a/b"}) CHECK_FALSE(hook.wants(hook.argument, path));
  for (const char* path : {"/", "/healthz/", "/healthzz", "/static", "/statics", "*", ""})
    CHECK(hook.wants(hook.argument, path));
  AccessLog none(line(), nullptr, {.not_paths = {"/*"}});
  CHECK_FALSE(none.wants("/"));
  CHECK_FALSE(none.wants("/x"));

  // A tenth of 20,000 is 2,000 ± 42: beyond eight times that chance does not come.
  AccessLog tenth(line(), nullptr, {.sample = 0.1});
  for (int i = 0; i < 20'000; ++i) say(tenth, 200);
  const std::uint64_t count = tenth.lines();
  CHECK(count > 1'660);
  CHECK(count < 2'340);
  AccessLog least(line(), nullptr, {.sample = 1e-12});
  for (int i = 0; i < 1'000; ++i) say(least, 200);
  CHECK(least.lines() == 0);
}

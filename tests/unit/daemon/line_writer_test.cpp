// Lines between those who have something to say and an output that may not take it.
#include "daemon/line_writer.hpp"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "daemon/line_ring.hpp"
#include "daemon/logging.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/json.hpp"

using namespace fiberd;
using namespace fiberd::daemon;
using namespace std::chrono_literals;
using fiberd::test::eventually;
using fiberd::test::Json;
using fiberd::test::read_file;
using fiberd::test::TemporaryDirectory;

namespace {

class Lines final : public LineSource {
 public:
  bool push(const std::string& line) { return ring_->push(line.data(), line.size()); }
  std::size_t take(char* out, std::size_t room) noexcept override { return ring_->take(out, room); }
  [[nodiscard]] bool empty() const noexcept override { return ring_->empty(); }
  [[nodiscard]] std::uint64_t lines() const noexcept override { return ring_->lines(); }
  void lost(std::uint64_t lines) noexcept override { lost_lines += lines; }
  std::atomic<std::uint64_t> lost_lines{0};

 private:
  std::unique_ptr<LineRing> ring_ = std::make_unique<LineRing>();
};

struct Written {
  explicit Written(const std::string& output) {
    std::string why;
    auto opened = LineWriter::open({.output = output, .says_when_stuck = false}, why);
    INFO(why);
    REQUIRE(opened.has_value());
    writer = std::move(*opened);
    REQUIRE(writer->add(lines));
    REQUIRE_FALSE(writer->start());
  }
  void say(const std::string& line) {
    REQUIRE(lines->push(line));
    writer->wake();
  }
  std::uint64_t stop(std::chrono::milliseconds patience = 10s) {
    return writer->stop(patience, monotonic_now() + std::chrono::nanoseconds(patience).count());
  }
  std::shared_ptr<Lines> lines = std::make_shared<Lines>();
  std::unique_ptr<LineWriter> writer;
};

std::string fifo(const TemporaryDirectory& directory) {
  const std::string path = directory.path() + "/fifo";
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  return path;
}

/// What is in a FIFO by now.
std::string read_fifo(int fd) {
  std::string all;
  char buffer[65536];
  for (ssize_t n = 0; (n = ::read(fd, buffer, sizeof buffer)) > 0;) all.append(buffer, static_cast<std::size_t>(n));
  return all;
}

std::string numbered(unsigned i, std::size_t size) {
  std::string line = std::to_string(i) + " ";
  line.resize(size - 1, static_cast<char>('a' + i % 26));
  return line + "\n";
}

}  // namespace

TEST_CASE("what is said is written, lines of any length, and the stop waits for it", "[daemon][logs]") {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/log";
  Written log(path);
  std::string all;
  for (unsigned i = 0; i < 60; ++i) {
    all += numbered(i, 2 + (i * 977) % 12'000 + 4);
    log.say(numbered(i, 2 + (i * 977) % 12'000 + 4));
  }
  CHECK(log.stop() == 0);
  CHECK(read_file(path) == all);
}

TEST_CASE("a pipe that is read slowly gets whole lines, in order, none lost", "[daemon][logs]") {
  const TemporaryDirectory directory;
  const std::string path = fifo(directory);
  Written log(path);
  const int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  REQUIRE(reader >= 0);
  std::string all;
  std::string got;
  for (unsigned i = 0; i < 100; ++i) {
    all += numbered(i, 10 + (i * 1'777) % 9'000);
    log.say(numbered(i, 10 + (i * 1'777) % 9'000));
    if (i % 10 == 9) got += read_fifo(reader);
  }
  CHECK(eventually([&] {
    got += read_fifo(reader);
    return got.size() == all.size();
  }));
  CHECK(got == all);
  CHECK(log.stop() == 0);
  ::close(reader);
}

TEST_CASE("a pipe that nobody reads is given up at the stop, and every line is accounted for", "[daemon][logs]") {
  const TemporaryDirectory directory;
  const std::string path = fifo(directory);
  Written log(path);
  unsigned said = 0;
  for (; said < 5'000; ++said) log.say(numbered(said, 100));
  const std::int64_t before = monotonic_now();
  const std::uint64_t lost = log.stop(100ms);
  CHECK(monotonic_now() - before < 5'000'000'000);
  CHECK(lost > 0);
  CHECK(log.lines->lost_lines == lost);
}

TEST_CASE("lines in the pipe and lines lost are all there were", "[daemon][logs]") {
  const TemporaryDirectory directory;
  const std::string path = fifo(directory);
  const int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  REQUIRE(reader >= 0);
  static constexpr unsigned kSaid = 3'000;
  Written log(path);
  for (unsigned i = 0; i < kSaid; ++i) log.say(numbered(i, 100));
  const std::uint64_t lost = log.stop(100ms);
  std::istringstream lines(read_fifo(reader));
  unsigned read = 0;
  for (std::string line; std::getline(lines, line); ++read) REQUIRE(line + "\n" == numbered(read, 100));
  CHECK(read + lost == kSaid);
  ::close(reader);
}

TEST_CASE("a writer that waits for room opens its output anew, and the line that was begun goes there whole",
          "[daemon][logs]") {
  const TemporaryDirectory directory;
  const std::string path = fifo(directory);
  const int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  REQUIRE(reader >= 0);
  static constexpr unsigned kSaid = 2'000;
  Written log(path);
  for (unsigned i = 0; i < kSaid; ++i) log.say(numbered(i, 100));
  REQUIRE(::rename(path.c_str(), (path + ".1").c_str()) == 0);
  log.writer->reopen();
  CHECK(log.stop() == 0);
  std::istringstream lines(read_fifo(reader) + read_file(path));
  unsigned read = 0;
  for (std::string line; std::getline(lines, line); ++read) REQUIRE(line + "\n" == numbered(read, 100));
  CHECK(read == kSaid);
  ::close(reader);
}

TEST_CASE("a full disk loses lines, each counted once", "[daemon][logs]") {
  Written log("/dev/full");
  for (unsigned i = 0; i < 1'000; ++i) log.say(numbered(i, 10 + (i * 1'777) % 900));
  (void)log.stop();
  CHECK(log.lines->lost_lines == 1'000);
}

TEST_CASE("words are streams, paths are paths", "[daemon][logs]") {
  CHECK(output_kind("stdout") == OutputKind::standard_output);
  CHECK(output_kind("/dev/stdout") == OutputKind::standard_output);
  CHECK(output_kind("stderr") == OutputKind::standard_error);
  CHECK(output_kind("/dev/stderr") == OutputKind::standard_error);
  CHECK(output_kind("./stdout") == OutputKind::path);
  std::string why;
  const auto none = LineWriter::open({.output = "/no/such/directory/log"}, why);
  CHECK_FALSE(none.has_value());
  CHECK(why == "No such file or directory");
}

TEST_CASE("the log never waits: what nobody reads is dropped, counted, and said when somebody does", "[daemon][logs]") {
  const TemporaryDirectory directory;
  const std::string path = fifo(directory);
  std::string why;
  REQUIRE(open_log({.output = path}, why).has_value());
  const std::uint64_t before = log_lines_dropped();
  const std::string text(1'000, 'x');
  for (int i = 0; i < 3'000 && log_lines_dropped() == before; ++i) log(LogLevel::info, text);
  CHECK(log_lines_dropped() > before);
  const int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  REQUIRE(reader >= 0);
  std::string all;
  CHECK(eventually([&] {
    all += read_fifo(reader);
    return all.find(" lines of this log were dropped: nobody read it in time\n") != std::string::npos;
  }));
  close_log(100ms, INT64_MAX);
  ::close(reader);
}

TEST_CASE("lines of the log are as long as a pipe takes in one piece, and valid JSON when they were cut",
          "[daemon][logs]") {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/log";
  std::string why;
  REQUIRE(open_log({.format = LogFormat::json, .output = path}, why).has_value());
  log(LogLevel::info, std::string(10'000, 'x'));
  log(LogLevel::info, std::string(10'000, '\x01'));
  log(LogLevel::info, "short");
  close_log(1s, INT64_MAX);
  std::istringstream in(read_file(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  REQUIRE(lines.size() == 3);
  for (const std::string& line : lines) {
    CHECK(line.size() < PIPE_BUF);
    CHECK(Json::valid(line));
  }
  CHECK(lines[0].size() == PIPE_BUF - 1);
  CHECK(lines[0].ends_with("x [cut]\"}"));
  CHECK(lines[1].ends_with("\\u0001 [cut]\"}"));
  CHECK(lines[2].ends_with("\"short\"}"));
}

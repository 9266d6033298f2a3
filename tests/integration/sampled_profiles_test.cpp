// The profiles that are sampled all the time, of a running daemon, as `go tool pprof` shows them.
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/sanitized.hpp"

using namespace fiberd::test;

namespace {

std::string allocating(const std::string& profiles) {
  return "runtime: {gomaxprocs: 2}\nadmin: {address: \"127.0.0.1:0\"}\n" + profiles +
         "listeners:\n  - name: web\n    address: \"127.0.0.1:0\"\n    http:\n      routes:\n"
         "        - {path: /hello, respond: {body: hello, content_type: text/plain}}\n"
         "        - {path: /moment, handler: moment}\n        - {path: /keep, handler: keep}\n"
         "        - {path: /text, handler: text}\n        - {path: /channel, handler: channel}\n"
         "        - {path: /mutex, handler: mutex}\n        - {path: /counted, handler: counted}\n";
}

const Daemon::Options kAllocating{.program = FIBERD_ALLOCATING};

void ask_often(HttpClient& client, const std::string& path, int times) {
  for (int i = 0; i < times; ++i) {
    const auto answer = client.ask(get(path));
    REQUIRE(answer);
    REQUIRE(answer->status == 200);
  }
}

std::string top(const Daemon& daemon, const std::string& page, const std::vector<std::string>& options) {
  const TemporaryDirectory directory;
  const std::string file = directory.write("p.pb.gz", daemon.admin("/debug/pprof/" + page));
  std::vector<std::string> command{"go", "tool", "pprof", "-top", "-nodecount=30"};
  command.insert(command.end(), options.begin(), options.end());
  command.push_back(file);
  const Finished done = run(command);
  INFO(done.errors);
  REQUIRE(done.code == 0);
  return done.output;
}

/// The row of a function: flat, flat%, sum%, cum, cum%, name. Its first column.
std::string row_of(const std::string& table, const std::string& function) {
  const std::size_t at = table.find(function);
  if (at == std::string::npos) return "";
  const std::size_t begin = table.rfind('\n', at) + 1;
  return table.substr(begin, table.find('\n', at) - begin);
}

unsigned post(const Daemon& daemon, const std::string& path, std::string& body, const std::string& fields = "") {
  HttpClient client(daemon.port("admin"));
  const auto answer =
      client.ask("POST " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n" + fields + "\r\n");
  if (!answer) return 0;
  body = answer->body;
  return answer->status;
}

}  // namespace

TEST_CASE("heap and allocs show who allocates and who keeps, by name", "[integration][profiles]") {
  if (kSanitized) return;  // the sanitizers' malloc is not looked at
  Daemon daemon(allocating("profiles: {heap_rate: 16KiB}\n"), kAllocating);
  HttpClient client(daemon.port("web"));
  ask_often(client, "/keep", 20);      // 20 MB, which stay
  ask_often(client, "/moment", 1000);  // 100 MB, which do not
  ask_often(client, "/text", 100);     // 26 MB by std::string in the C++ library
  const std::string kept = top(daemon, "heap", {});
  INFO(kept);
  CHECK(kept.find("Type: inuse_space") != std::string::npos);
  const std::string keeps = row_of(kept, "keep_in_use");
  CHECK(keeps.find("MB") != std::string::npos);
  const double megabytes = std::atof(keeps.c_str());
  CHECK(megabytes > 15);
  CHECK(megabytes < 25);
  CHECK(std::atof(row_of(kept, "allocate_for_a_moment").c_str()) < 1);
  const std::string all = top(daemon, "allocs", {});
  INFO(all);
  CHECK(all.find("Type: alloc_space") != std::string::npos);
  const double moments = std::atof(row_of(all, "allocate_for_a_moment").c_str());
  CHECK(moments > 80);
  CHECK(moments < 120);
  CHECK_FALSE(row_of(all, "grow_a_text").empty());
  const std::string objects = top(daemon, "allocs", {"-sample_index=alloc_objects"});
  INFO(objects);
  CHECK(std::atof(row_of(objects, "allocate_for_a_moment").c_str()) > 80'000);
  const std::string text = daemon.admin("/debug/pprof/heap?debug=1");
  CHECK(text.find("keep_in_use") != std::string::npos);
  CHECK(daemon.metric("fiberd_profile_samples_total{profile=\"heap\"}").value_or(0) > 1000);
  CHECK(daemon.metric("fiberd_profile_samples_lost_total{profile=\"heap\"}") == 0.0);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("block and mutex show who waits and who lets wait, by name, with rates that are set while it runs",
          "[integration][profiles]") {
  Daemon daemon(allocating(""), kAllocating);
  std::string said;
  REQUIRE(post(daemon, "/debug/pprof/rates?block=1us&mutex=1", said) == 200);
  CHECK(said.find("block=1000ns mutex=1") != std::string::npos);
  HttpClient client(daemon.port("web"));
  ask_often(client, "/channel", 10);
  for (int round = 0; round < 5; ++round) {
    std::vector<std::unique_ptr<HttpClient>> crowd;
    for (int i = 0; i < 4; ++i) crowd.push_back(std::make_unique<HttpClient>(daemon.port("web")));
    for (const auto& one : crowd) REQUIRE(one->send(get("/mutex")));
    for (const auto& one : crowd) REQUIRE(one->receive());
  }
  const std::string blocked = top(daemon, "block", {"-cum"});
  INFO(blocked);
  CHECK(blocked.find("Type: delay") != std::string::npos);
  CHECK(row_of(blocked, "wait_in_a_channel").find("ms") != std::string::npos);
  CHECK(row_of(blocked, "hold_the_mutex").find("ms") != std::string::npos);
  const std::string only_channels = top(daemon, "block", {"-cum", "-tagfocus=reason=channel_receive"});
  CHECK_FALSE(row_of(only_channels, "wait_in_a_channel").empty());
  CHECK(row_of(only_channels, "hold_the_mutex").empty());
  const std::string contended = top(daemon, "mutex", {"-cum"});
  INFO(contended);
  CHECK(row_of(contended, "hold_the_mutex").find("ms") != std::string::npos);
  CHECK(row_of(contended, "wait_in_a_channel").empty());
  CHECK(daemon.stop() == 0);
}

TEST_CASE("profile rates: what is wrong changes nothing, a browser may not, a reload brings the configuration's back",
          "[integration][profiles]") {
  Daemon daemon(allocating("profiles: {block_rate: 1ms, mutex_fraction: 7}\n"), kAllocating);
  std::string said;
  REQUIRE(post(daemon, "/debug/pprof/rates", said) == 200);
  const std::string begun = said;
  CHECK(begun == (kSanitized ? "heap=0 block=1000000ns mutex=7\n" : "heap=512KiB block=1000000ns mutex=7\n"));
  for (const char* const wrong : {"heap=many", "heap=-1", "heap=2TiB", "block=soon", "block=2h", "mutex=1.5",
                                  "mutex=", "mutex=5&block=x", "mutex=9999999999", "mutex=5&blok=1ms"}) {
    INFO(wrong);
    CHECK(post(daemon, std::string("/debug/pprof/rates?") + wrong, said) == 400);
    CHECK(said.starts_with("rates: "));
  }
  CHECK(post(daemon, "/debug/pprof/rates?mutex=1", said, "Origin: http://evil.example\r\n") == 403);
  CHECK(daemon.admin_status("/debug/pprof/rates?mutex=1") == 405);
  REQUIRE(post(daemon, "/debug/pprof/rates", said) == 200);
  CHECK(said == begun);
  if (kSanitized) {
    CHECK(post(daemon, "/debug/pprof/rates?heap=1KiB", said) == 501);
  } else {
    CHECK(post(daemon, "/debug/pprof/rates?heap=1KiB&block=0&mutex=0", said) == 200);
    CHECK(said == "heap=1KiB block=0ns mutex=0\n");
    CHECK(post(daemon, "/reload", said) == 200);
    REQUIRE(post(daemon, "/debug/pprof/rates", said) == 200);
    CHECK(said == begun);
  }
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a request that is answered with a short text allocates nothing, nor does one whose trace is not sampled",
          "[integration][profiles][allocations]") {
  if (kSanitized) return;  // the sanitizers' malloc is not looked at
  // Who looks by the clock allocates, too, and is left out.
  // Of requests that may still be kept at their end.
  const std::string traced =
      "tracing: {endpoint: \"http://127.0.0.1:1/\", batch: {delay: 1h}, sample: {ratio: 0, errors: always, slow: "
      "1h}}\n";
  const std::string tracing = GENERATE_COPY(std::string(), traced);
  INFO(tracing);
  Daemon daemon(allocating("leaks: {threshold: 0s}\nmemory: {governor: off}\n" + tracing),
                {.environment = {{"COUNT_ALLOCATIONS", "1"}}, .program = FIBERD_ALLOCATING});
  HttpClient client(daemon.port("web"));
  const auto counted = [&client] {
    const auto answer = client.ask(get("/counted"));
    REQUIRE(answer);
    return std::stoull(answer->body);
  };
  ask_often(client, "/hello", 1000);
  (void)counted();
  // What the daemon does by the clock, each second or so, is in the count, too: so the least of some rounds, each
  // short, and not every one of that is the requests'. If each made one it would be 1,000.
  static constexpr unsigned long long kBeside = 2;
  static constexpr int kRequests = 1'000;
  unsigned long long least = ~0ULL;
  for (int round = 0; round < 50 && least >= kBeside; ++round) {
    const auto before = counted();
    const auto for_asking = counted() - before;
    const auto begun = counted();
    ask_often(client, "/hello", kRequests);
    const auto made = counted() - begun;
    INFO("to ask makes " << for_asking);
    least = std::min(least, made - std::min(made, for_asking));
  }
  CHECK(least < kBeside);
  // It does count: a handler that makes 100 pieces.
  const auto before = counted();
  ask_often(client, "/moment", 10);
  CHECK(counted() - before >= 1000);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("malloc and its family do what they must while everything is sampled, or one in some",
          "[integration][profiles]") {
  if (kSanitized) {
    WARN("a sanitizer's malloc is another, with other rules: left out");
    return;
  }
  for (const char* const rate : {"1", "5000", "0"}) {
    INFO(rate);
    const Finished done = run({FIBERD_ALLOCATING, "family", rate});
    INFO(done.output << done.errors);
    CHECK(done.code == 0);
    if (*rate == '1') {
      CHECK(done.output.find("lost 0\n") != std::string::npos);
      CHECK(done.output.find("samples 0 ") == std::string::npos);
    }
  }
}

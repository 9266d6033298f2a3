// The status document: whole JSON whatever names are in it, bounded, and the same numbers as the metrics'.
#include "core/observe/status_document.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <string>

#include "core/observe/catalogue.hpp"
#include "core/runtime/processor_view.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/channel.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/json.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;

namespace {

bool whole_json(const std::string& document) {
  return document.ends_with("\n") && test::Json::valid(document.substr(0, document.size() - 1));
}
bool tells(const std::string& text, const std::string& part) {
  INFO(text << "\nhas no " << part);
  const bool found = text.find(part) != std::string::npos;
  CHECK(found);
  return found;
}
std::size_t occurrences(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

}  // namespace

TEST_CASE("the status document is JSON whatever a route is called, and has bounds", "[observe][status]") {
  metric::Registry registry;
  const observe::Exporter exporter(registry);
  metric::Family& answers = observe::register_metric(registry, "fiberd_http_request_duration_seconds");
  metric::Family& refused = observe::register_metric(registry, "fiberd_http_refused_total");
  const auto answer = [&](std::string_view listener, std::string_view route, std::string_view code, int times) {
    metric::Histogram& histogram = registry.histogram(answers, {listener, route, times % 2 == 0 ? "GET" : "PUT", code});
    for (int i = 0; i < times; ++i) histogram.observe(1'000'000);
  };
  answer("we\"b\n", "/\x1b[2J</script>", "200", 7);
  answer("we\"b\n", "/\x1b[2J</script>", "503", 2);
  for (int i = 0; i < 500; ++i) {
    answer("web", "/" + std::to_string(i), "200", 1);
    registry.counter(refused, {"web", "reason" + std::to_string(i)}).add(1);
  }
  observe::StatusReader reader(
      exporter, [](bool) { return runtime::MemStats(); }, "1.2.3\"");
  const std::string document = reader.render();
  CHECK(whole_json(document));
  CHECK(tells(document, R"("listener":"we\"b\u000a","route":"/\u001b[2J</script>","requests":9,)"));
  CHECK(tells(document, R"("2xx":7,"3xx":0,"4xx":0,"5xx":2)"));
  // Over all methods and codes.
  CHECK(tells(document, R"("latency":{"count":9,"sum_seconds":0.009)"));
  CHECK(tells(document, R"("version":"1.2.3\"")"));
  CHECK(occurrences(document, "\"route\":") == observe::StatusReader::kMostRoutes);
  CHECK(tells(document, "\"routes_left_out\":301"));
  CHECK(occurrences(document, "\"what\":\"http_refused\"") == observe::StatusReader::kMostRefusals);
  CHECK(document.size() < 300'000);
  // What this process does not have is not told of.
  CHECK(document.find("\"leaks\"") == std::string::npos);
}

TEST_CASE("fibers are counted by spawn site and reason, with the oldest wait of each", "[observe][status]") {
  auto rt = test::start_runtime(2);
  metric::Registry registry;
  const observe::Exporter exporter(registry);
  observe::StatusReader reader(
      exporter, [&rt](bool measure) { return rt->read_mem_stats(measure); }, "1");
  auto channel = std::make_shared<sync::Channel<int>>(0);
  for (int i = 0; i < 3; ++i) REQUIRE(rt->spawn("wai\"ter", [channel] { (void)channel->receive(); }));
  std::string document;
  REQUIRE(test::eventually([&] {
    document = reader.render();
    return document.find(R"("name":"wai\"ter","names":false,"count":3,"runnable":0,"running":0,"waiting":3)") !=
           std::string::npos;
  }));
  CHECK(whole_json(document));
  CHECK(tells(document, "status_document_test.cpp:"));
  CHECK(tells(document, R"("oldest_reason":"channel_receive")"));
  CHECK(tells(document, R"("reasons":[{"reason":"channel_receive","count":3,)"));
  CHECK(tells(document, R"("processors":[{"processor":0,"state":")"));
  channel->close();
}

TEST_CASE("the load of a Processor goes up while a fiber computes there, and not while it sleeps",
          "[observe][status]") {
  auto rt = test::start_runtime(2);
  std::atomic<bool> enough{false};
  const auto busy = [] {
    std::uint64_t most = 0;
    for (const runtime::ProcessorView& p : runtime::read_processors()) most = std::max(most, p.busy_ns);
    return most;
  };
  REQUIRE(rt->spawn("computes", [&enough] {
    while (!enough.load()) runtime::yield();
  }));
  const std::uint64_t before = busy();
  CHECK(test::eventually([&] { return busy() > before + 50'000'000; }));
  enough = true;
  // Both sleep: what was noted stays, for as long as anybody looks.
  CHECK(test::eventually([&] {
    const std::uint64_t then = busy();
    for (int i = 0; i < 20; ++i) test::pause_between_polls();
    return busy() == then;
  }));
  CHECK(runtime::read_processors().size() == 2);
}

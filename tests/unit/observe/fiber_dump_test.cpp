// The dump as people and tools read it.
#include <pthread.h>
#include <signal.h>
#include <zlib.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <protozero/pbf_reader.hpp>
#include <string>
#include <thread>
#include <vector>

#include "core/base/clock.hpp"
#include "core/observe/fiber_dump.hpp"
#include "core/observe/pprof_profile.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/mutex.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;
using namespace std::chrono_literals;

namespace {

std::string gunzip(const std::string& text) {
  z_stream stream{};
  REQUIRE(inflateInit2(&stream, 15 + 16) == Z_OK);
  std::string out(1U << 20U, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  CHECK(inflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  inflateEnd(&stream);
  return out;
}

std::string dumped(const observe::FiberFilter& filter, std::size_t most = SIZE_MAX) {
  std::string all;
  CHECK(observe::dump_fibers(
      filter,
      [&all](std::string_view piece) -> Result<void> {
        all += piece;
        return {};
      },
      most));
  return all;
}
std::string grouped(const observe::FiberFilter& filter) {
  std::string all;
  CHECK(observe::group_fibers(filter, [&all](std::string_view piece) -> Result<void> {
    all += piece;
    return {};
  }));
  return all;
}
bool has(const std::string& text, const std::string& part) {
  INFO(text << "\nhas no " << part);
  const bool found = text.find(part) != std::string::npos;
  CHECK(found);
  return found;
}

/// Nobody else can name it: the dynamic linker does not know it.
[[gnu::noinline]] void waits_for_a_value_unseen(sync::Channel<int>& values) {
  (void)values.receive();
  asm volatile("");  // no tail call
}

/// Three receivers, one sender, one who waits for a mutex that `holder` has.
struct Cast {
  sync::Channel<int> empty;
  sync::Channel<int> full;
  sync::Mutex mutex;
  sync::Channel<int> release;
  std::unique_ptr<runtime::Runtime> rt = test::start_runtime(1);
  Cast() {
    bool spawned = true;
    for (int i = 0; i < 3; ++i)
      spawned = spawned && rt->spawn("receiver", [this] { (void)empty.receive(); }).has_value();
    spawned = spawned && rt->spawn("sender", [this] { (void)full.send(1); }).has_value();
    spawned = spawned && rt->spawn("holder", [this] {
                             const std::scoped_lock lock(mutex);
                             (void)release.receive();
                           }).has_value();
    REQUIRE(spawned);
    REQUIRE(comes_to_wait(5));  // the holder, too: who waits for it comes behind it
    REQUIRE(rt->spawn(runtime::FiberName::intern("wa\"its\nfor it"), [this] { const std::scoped_lock lock(mutex); }));
    REQUIRE(comes_to_wait(6));
  }
  bool comes_to_wait(int fibers) const {
    bool all = false;
    rt->run([&] {
      for (int i = 0; i < 1'000'000 && !all; ++i) {
        int waiting = 0;
        (void)runtime::for_each_fiber([&](const runtime::FiberView& f) {
          waiting += f.state == runtime::FiberView::State::waiting ? 1 : 0;
          return true;
        });
        all = waiting == fibers;
        runtime::yield();
      }
    });
    return all;
  }
  ~Cast() {
    rt->run([this] {
      empty.close();
      release.close();
      (void)full.receive();
    });
  }
};

}  // namespace

TEST_CASE("functions that are not exported are named, too, in dumps of each kind", "[fiber_dump]") {
  Cast cast;
  sync::Channel<int> values;
  REQUIRE(cast.rt->spawn("unseen", [&] { waits_for_a_value_unseen(values); }));
  REQUIRE(cast.comes_to_wait(7));
  const observe::FiberFilter unseen{.name = "unseen"};
  has(dumped(unseen), "waits_for_a_value_unseen");
  has(grouped(unseen), "waits_for_a_value_unseen");
  cast.rt->run([&] { has(dumped(unseen), "waits_for_a_value_unseen"); });
  cast.rt->run([&] { values.close(); });
}

TEST_CASE("a dump says how much of a stack is in use and how deep it was used", "[observe]") {
  const Cast cast;
  const std::string all = dumped({.name = "sender"});
  const auto number_behind = [&all](const std::string& text) {
    const std::size_t at = all.find(text);
    return at == std::string::npos ? 0UL : std::strtoul(all.c_str() + at + text.size(), nullptr, 10);
  };
  INFO(all);
  CHECK(number_behind("  stack: ") > 0);
  CHECK(number_behind(" bytes, high-water ") >= number_behind("  stack: "));
  CHECK(number_behind(" bytes, high-water ") % 4096 == 0);
}

TEST_CASE("a dump tells of each fiber what it does, since when, for what, and where", "[fiber_dump]") {
  const Cast cast;
  cast.rt->run([&] {
    const std::string all = dumped({});
    has(all, "\"sender\" [channel_send, ");
    has(all, "\"holder\" [channel_receive, ");
    has(all, "  spawned at tests/unit/observe/fiber_dump_test.cpp:");
    has(all, "7 of 7 fibers\n");  // with the one that looks
    // A mutex tells its owner, by the fiber's number and name.
    const std::string waiting = dumped({.state = "mutex"});
    has(waiting, "\"wa\\\"its\\x0afor it\" [mutex, ");
    has(waiting, ", held by fiber ");
    has(waiting, " \"holder\" spawned at tests/unit/observe/fiber_dump_test.cpp:");
    has(waiting, "fiberd::sync::Mutex::lock");
    has(waiting, "1 of 7 fibers\n");
  });
}

TEST_CASE("a dump of some: by name, site, state and age", "[fiber_dump]") {
  const Cast cast;
  cast.rt->run([&] {
    const auto count = [](const observe::FiberFilter& filter) {
      const std::string all = dumped(filter);
      return std::stoul(all.substr(all.rfind('\n', all.size() - 2) + 1));
    };
    CHECK(count({.name = "receive"}) == 3);
    CHECK(count({.name = "nobody"}) == 0);
    CHECK(count({.site = "fiber_dump_test.cpp:"}) == 7);
    CHECK(count({.site = "other.cpp"}) == 0);
    CHECK(count({.state = "waiting"}) == 6);
    CHECK(count({.state = "running"}) == 1);
    CHECK(count({.state = "channel_receive"}) == 4);
    CHECK(count({.name = "receiver", .state = "channel_send"}) == 0);
    CHECK(count({.min_age = 1h}) == 0);
    CHECK(count({.min_age = 1ns}) == 6);
    const std::string some = dumped({}, 2);
    has(some, "and 5 more; 2 of 7 fibers\n");
  });
  CHECK_FALSE(observe::why_no_state("channel_send"));
  CHECK_FALSE(observe::why_no_state("runnable"));
  has(observe::why_no_state("chan\n").value_or(""), "\"chan\\x0a\" is no state of a fiber; there are runnable, ");
}

TEST_CASE("grouped: equal stacks together, most first, in the form that Go's tools read", "[fiber_dump]") {
  const Cast cast;
  cast.rt->run([&] {
    const std::string all = grouped({});
    INFO(all);
    CHECK(all.starts_with("goroutine profile: total 7\n3 @ 0x"));
    has(all, "# \"receiver\" [channel_receive, the oldest ");
    has(all, "\tfiberd::runtime::Scheduler::run_function");
    CHECK(all.find("\"receiver\"") == all.rfind("\"receiver\""));
  });
}

TEST_CASE("a fiber that runs is told with its stack, also by a thread that answers late", "[fiber_dump]") {
  const auto runtime = test::start_runtime(1);
  std::atomic<bool> over{false};
  std::atomic<int> deaf{0};  // how many times
  REQUIRE(runtime->spawn("late", [&] {
    sigset_t question;
    sigset_t before;
    sigset_t waiting;
    sigemptyset(&question);
    sigaddset(&question, SIGURG);
    while (!over) {
      // Deaf until it has been asked, and for 50 ms more.
      (void)pthread_sigmask(SIG_BLOCK, &question, &before);
      ++deaf;
      for (sigemptyset(&waiting); !over && sigismember(&waiting, SIGURG) == 0;) (void)sigpending(&waiting);
      const std::int64_t until = monotonic_now() + 50'000'000;
      while (!over && monotonic_now() < until) asm volatile("");
      (void)pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
  }));
  // Whoever is given no CPU for longer than anybody waits is asked again.
  bool told = false;
  int asked = 0;
  for (int i = 0; i < 20 && !told; ++i) {
    while (deaf == asked) std::this_thread::yield();
    asked = deaf;
    const std::string text = dumped({.name = "late"});
    told = text.find("\"late\" [running, on thread ") != std::string::npos;
  }
  CHECK(told);
  over = true;
}

TEST_CASE("as pprof's protobuf: samples, locations, functions and labels belong together", "[fiber_dump][pprof]") {
  const Cast cast;
  std::string encoded;
  cast.rt->run([&] {
    const auto profile = observe::profile_fibers({});
    REQUIRE(profile);
    encoded = gunzip(*profile);
  });
  std::vector<std::string> texts;
  std::map<std::uint64_t, std::uint64_t> function_of;  // location: function
  std::map<std::uint64_t, std::uint64_t> name_of;      // function: text
  std::vector<std::pair<std::int64_t, std::vector<std::uint64_t>>> samples;
  std::vector<std::vector<std::uint64_t>> labels;
  std::size_t mappings = 0;
  for (protozero::pbf_reader profile(encoded); profile.next();) {
    switch (profile.tag()) {
      case 2: {
        protozero::pbf_reader sample = profile.get_message();
        samples.emplace_back();
        labels.emplace_back();
        while (sample.next()) switch (sample.tag()) {
            case 1:
              for (const std::uint64_t id : sample.get_packed_uint64()) samples.back().second.push_back(id);
              break;
            case 2: samples.back().first = *sample.get_packed_int64().begin(); break;
            case 3: {
              protozero::pbf_reader label = sample.get_message();
              while (label.next(2)) labels.back().push_back(static_cast<std::uint64_t>(label.get_int64()));
              break;
            }
            default: sample.skip();
          }
        break;
      }
      case 3:
        ++mappings;
        profile.skip();
        break;
      case 4: {
        protozero::pbf_reader location = profile.get_message();
        std::uint64_t id = 0;
        while (location.next()) switch (location.tag()) {
            case 1: id = location.get_uint64(); break;
            case 4: {
              protozero::pbf_reader line = location.get_message();
              while (line.next(1)) function_of[id] = line.get_uint64();
              break;
            }
            default: location.skip();
          }
        break;
      }
      case 5: {
        protozero::pbf_reader function = profile.get_message();
        std::uint64_t id = 0;
        while (function.next()) switch (function.tag()) {
            case 1: id = function.get_uint64(); break;
            case 2: name_of[id] = static_cast<std::uint64_t>(function.get_int64()); break;
            default: function.skip();
          }
        break;
      }
      case 6: texts.push_back(profile.get_string()); break;
      default: profile.skip();
    }
  }
  CHECK(mappings > 1);
  REQUIRE(texts.at(0).empty());
  std::int64_t total = 0;
  bool three = false;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const auto& [count, locations] = samples[i];
    total += count;
    std::string stack;
    for (const std::uint64_t location : locations)
      if (function_of.contains(location)) stack += texts.at(name_of.at(function_of.at(location))) + "\n";
    if (count != 3) continue;
    three = true;
    has(stack, "fiberd::sync::detail::ChannelCore::wait");
    has(stack, "fiberd::runtime::Scheduler::run_function");
    REQUIRE(labels[i].size() == 3);
    CHECK(texts.at(labels[i][0]) == "channel_receive");
    CHECK(texts.at(labels[i][1]) == "receiver");
    has(texts.at(labels[i][2]), "fiber_dump_test.cpp:");
  }
  CHECK(three);
  CHECK(total == 7);
}

TEST_CASE("a fiber that is runnable has a stack that profiles can take", "[fiber_dump]") {
  const auto rt = test::start_runtime(1);
  rt->run([] {
    std::atomic<bool> over{false};
    REQUIRE(runtime::spawn("turns", [&] {
      while (!over) runtime::yield();
      over = false;
    }));
    // There is one Processor, and it is ours.
    const std::string all = grouped({.name = "turns"});
    over = true;
    while (over) runtime::yield();
    INFO(all);
    CHECK(all.starts_with("goroutine profile: total 1\n1 @ 0x"));
    CHECK(all.find("stack_not_known") != std::string::npos);
    CHECK(all.find("[runnable]") != std::string::npos);
  });
}

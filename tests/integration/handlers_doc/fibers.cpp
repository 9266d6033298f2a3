// docs/handlers.md: fibers.
#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <string>
#include <system_error>

#include "core/runtime/blocking.hpp"
#include "core/runtime/lock_thread.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/task.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/integration/handlers_doc/page.hpp"

using namespace fiberd;
using namespace std::chrono_literals;

TEST_CASE("docs/handlers.md: fibers", "[integration][docs]") {
  std::array<int, 3> squares{};
  test::on_fibers([&squares] {
    sync::WaitGroup group;
    std::error_code failed;
    for (int i = 0; i < 3; ++i) {
      const Result<void> started = group.go("square", [&squares, i] {
        (void)runtime::sleep_for(1ms);
        squares[static_cast<std::size_t>(i)] = i * i;
      });
      if (!started) failed = started.error();  // no memory for it, or admission refused it
    }
    group.wait();
    if (failed) throw std::system_error(failed);
  });
  CHECK(squares == std::array{0, 1, 4});
}

namespace {

/// Deep as a parser of nested input.
[[gnu::noinline]] int descend(int levels) {
  volatile char frame[128];
  frame[0] = 1;
  const int below = levels > 1 ? descend(levels - 1) : 0;
  return below + frame[0];
}

}  // namespace

namespace {
thread_local int library_state = 0;
}

TEST_CASE("docs/handlers.md: a thread of its own", "[integration][docs]") {
  int seen = 0;
  test::on_fibers([&] {
    const runtime::LockThread lock;  // throws std::system_error when no thread can be had
    library_state = 1;               // thread_local, inside of the library
    (void)runtime::sleep_for(1ms);
    const int kept = library_state;  // the same thread
    seen = kept;
  });
  CHECK(seen == 1);
}

TEST_CASE("docs/handlers.md: tasks, stacks, names", "[integration][docs]") {
  std::string joined;
  int levels = 0;
  std::string named;
  test::on_fibers([&] {
    const context::Context ctx = context::background();
    auto word = sync::spawn_task("word", [] { return std::string("joined"); });
    if (!word) throw std::system_error(word.error());  // no fiber for it
    // … meanwhile …
    const Result<std::string> result = word->join(ctx);  // or context::errc; rethrows what the function threw
    joined = *result;
    const runtime::SpawnOptions options{.name = "parser", .stack = runtime::StackClass::large};
    auto parsed = sync::spawn_task(options, [] { return descend(20'000); });
    if (parsed) levels = *parsed->join();
    const int number = 7;
    const runtime::FiberName name = runtime::FiberName::intern("shard " + std::to_string(number));
    named = name.text();
  });
  CHECK(joined == "joined");
  CHECK(levels == 20'000);
  CHECK(named == "shard 7");
}

TEST_CASE("docs/handlers.md: calls that block", "[integration][docs]") {
  std::string first;
  test::on_fibers([&first] {
    const std::string line = runtime::blocking([] {
      std::string read;
      std::ifstream file("/proc/self/comm");
      std::getline(file, read);
      return read;
    });
    first = line;
  });
  CHECK_FALSE(first.empty());
}

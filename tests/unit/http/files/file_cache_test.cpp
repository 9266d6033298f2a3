#include "core/http/files/file_cache.hpp"

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <utility>

#include "core/runtime/runtime.hpp"
#include "core/runtime/simulation.hpp"
#include "tests/support/daemon.hpp"

using namespace fiberd;
using namespace fiberd::http;
using namespace std::chrono_literals;

namespace {

/// Sizes of a file that was changed from 3 bytes to 5 and is asked for `age` after it was last looked at.
struct Seen {
  std::uint64_t by_the_first = 0;
  std::uint64_t meanwhile = 0;  ///< by one that asks while the first one looks again; 0: nobody looked
};

Seen ask_after(std::chrono::nanoseconds age) {
  const test::TemporaryDirectory directory;
  const auto root = FileRoot::open(directory.path());
  if (!root) return {};
  Seen seen;
  bool looking = false;
  FileCache* self = nullptr;
  const auto size = [&] {
    const auto entry = self->get("f");
    return entry ? (*entry)->content.file->size() : UINT64_MAX;
  };
  // An entry is prepared while it is looked at: the place where others come by.
  OpenFiles kept({.files = 4});
  FileCache cache(**root, kept, {}, [&](FileCache::Entry&) {
    if (std::exchange(looking, false)) seen.meanwhile = size();
  });
  self = &cache;
  runtime::Simulation(1).run([&] {
    directory.write("f", "old");
    (void)size();
    directory.write("f", "newer");
    (void)runtime::sleep_for(age);
    looking = true;
    seen.by_the_first = size();
  });
  return seen;
}

}  // namespace

TEST_CASE("file cache: however late an entry is looked at again, what is served is two seconds old at most", "[http]") {
  const Seen early = ask_after(500ms);
  CHECK(early.by_the_first == 3);
  CHECK(early.meanwhile == 0);
  const Seen late = ask_after(1500ms);
  CHECK(late.by_the_first == 5);
  CHECK(late.meanwhile == 3);
  for (const std::chrono::nanoseconds age : {std::chrono::nanoseconds(2100ms), std::chrono::nanoseconds(1h)}) {
    const Seen very_late = ask_after(age);
    CHECK(very_late.by_the_first == 5);
    CHECK(very_late.meanwhile == 5);
  }
}

TEST_CASE("file cache: an entry that was found unchanged is good for another second", "[http]") {
  const test::TemporaryDirectory directory;
  directory.write("f", "text");
  const auto root = FileRoot::open(directory.path());
  REQUIRE(root);
  int looks = 0;
  OpenFiles kept({.files = 4});
  FileCache cache(**root, kept, {}, [&](FileCache::Entry&) { ++looks; });
  std::vector<int> after;
  const auto ask = [&] {
    (void)cache.get("f");
    after.push_back(looks);
  };
  runtime::Simulation(1).run([&] {
    ask();
    ask();
    (void)runtime::sleep_for(1500ms);
    ask();
    (void)runtime::sleep_for(900ms);
    ask();
    (void)runtime::sleep_for(200ms);
    ask();
  });
  CHECK(after == std::vector<int>{1, 1, 2, 2, 3});
}

#include "core/fiber/local.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace fiberd::fiber;

namespace {

void* root_of_a = nullptr;
void* root_of_b = nullptr;
void** root_in_use = nullptr;

void*& test_root() noexcept { return root_in_use != nullptr ? *root_in_use : thread_local_root(); }

struct Hook {
  Hook() { set_local_root_hook(&test_root); }
  ~Hook() {
    root_in_use = nullptr;
    set_local_root_hook(nullptr);
  }
};

std::vector<std::string> events;

Local<int> number;
Local<std::string> local_text;

struct Noisy {
  ~Noisy() { events.emplace_back("noisy"); }
};
Local<Noisy> noisy;

struct UsesAnother {
  ~UsesAnother() {
    events.push_back("sees " + *local_text);
    (void)noisy.get();
  }
};
Local<UsesAnother> uses_another;

}  // namespace

TEST_CASE("each fiber has its own values", "[fiber][local]") {
  const Hook hook;
  root_in_use = &root_of_a;
  CHECK(root_of_a == nullptr);
  CHECK(*number == 0);
  *number = 1;
  *local_text = std::string("a");
  root_in_use = &root_of_b;
  CHECK(*number == 0);
  *number = 2;
  CHECK(local_text->empty());
  root_in_use = &root_of_a;
  CHECK(*number == 1);
  CHECK(*local_text == "a");
  destroy_locals(root_of_a);
  CHECK(root_of_a == nullptr);
  root_in_use = &root_of_b;
  CHECK(*number == 2);
  destroy_locals(root_of_b);
}

TEST_CASE("a destructor may use locals", "[fiber][local]") {
  const Hook hook;
  events.clear();
  root_in_use = &root_of_a;
  *local_text = std::string("old");
  (void)uses_another.get();
  destroy_locals(root_of_a);
  CHECK(root_of_a == nullptr);
  // The string of the first round is gone or detached: it is a new one.
  CHECK(events == std::vector<std::string>{"sees ", "noisy"});
}

TEST_CASE("off fibers values belong to the thread and end with it", "[fiber][local]") {
  events.clear();
  int seen = -1;
  std::thread([&] {
    *number = 7;
    (void)noisy.get();
    seen = *number;
  }).join();
  CHECK(seen == 7);
  CHECK(*number == 0);
  CHECK(events == std::vector<std::string>{"noisy"});
}

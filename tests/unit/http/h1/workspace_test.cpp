// Workspaces: kept hot in small numbers, given back to the kernel when a crowd has gone.
#include "core/http/h1/workspace.hpp"

#include <catch2/catch.hpp>
#include <vector>

#include "core/runtime/runtime.hpp"

using namespace fiberd;
using namespace std::chrono_literals;

TEST_CASE("a crowd's workspaces go back to the kernel, those in use and a few hot ones stay", "[http][workspace]") {
  auto runtime = *runtime::Runtime::start({.gomaxprocs = 1});
  http::WorkspacePool pool{http::HeadLimits()};
  std::size_t crowd = 0;
  std::size_t reused = 0;
  std::size_t after = 0;
  runtime->run([&] {
    std::vector<http::Workspace*> all;
    for (int i = 0; i < 300; ++i) all.push_back(pool.acquire());
    for (http::Workspace* w : all) w->in[0] = 'x';  // they are memory
    for (std::size_t i = 10; i < all.size(); ++i) pool.release(all[i]);
    all.resize(10);
    crowd = pool.warm();
    for (int i = 0; i < 50; ++i) all.push_back(pool.acquire());
    reused = pool.warm();
    for (std::size_t i = 10; i < all.size(); ++i) pool.release(all[i]);
    for (int i = 0; i < 500 && pool.warm() > 42; ++i) (void)runtime::sleep_for(20ms);
    after = pool.warm();
    for (std::size_t i = 0; i < 10; ++i) pool.release(all[i]);
    // Until there is nothing to trim: its timer has fired and is not armed again when the runtime goes.
    for (int i = 0; i < 500 && pool.warm() > 32; ++i) (void)runtime::sleep_for(20ms);
    pool.stop();
  });
  CHECK(pool.warm() == 32);
  CHECK(crowd == 300);
  CHECK(reused == 300);
  CHECK(after == 42);  // ten in use, 32 hot
  runtime.reset();
}

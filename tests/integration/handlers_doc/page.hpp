#pragma once
// What the snippets of docs/handlers.md run in.
#include <chrono>
#include <system_error>
#include <utility>

#include "core/runtime/runtime.hpp"

namespace fiberd::test {

/// Runs `fn` on a fiber of a runtime of its own, and waits for all that it spawned. Its exception comes out here.
template <class F>
void on_fibers(F fn) {
  auto runtime = runtime::Runtime::start({.gomaxprocs = 2});
  if (!runtime) throw std::system_error(runtime.error());
  (*runtime)->run(std::move(fn));
}

}  // namespace fiberd::test

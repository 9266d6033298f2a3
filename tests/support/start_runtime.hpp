#pragma once
// A runtime with real Processors that has started; an exception when it does not.
#include <memory>
#include <system_error>
#include <utility>

#include "core/runtime/runtime.hpp"

namespace fiberd::test {

inline std::unique_ptr<runtime::Runtime> start_runtime(const runtime::Options& options) {
  auto rt = runtime::Runtime::start(options);
  if (!rt) throw std::system_error(rt.error());
  return std::move(*rt);
}
inline std::unique_ptr<runtime::Runtime> start_runtime(unsigned processors, runtime::Options options = {}) {
  options.gomaxprocs = processors;
  return start_runtime(options);
}

}  // namespace fiberd::test

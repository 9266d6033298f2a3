#pragma once
// FIBERDEBUG for the runtimes that start while this lives.
#include <cstdlib>

namespace fiberd::test {

class DebugSetting {
 public:
  explicit DebugSetting(const char* value) { (void)::setenv("FIBERDEBUG", value, 1); }
  ~DebugSetting() { (void)::unsetenv("FIBERDEBUG"); }
  DebugSetting(const DebugSetting&) = delete;
  DebugSetting& operator=(const DebugSetting&) = delete;
};

}  // namespace fiberd::test

#pragma once
// A case whose fibers can never end, in a process of its own: it tells what it found and is gone with all of them.
//
// The process is a new one that runs this test case alone, and not a fork: what earlier cases have left in memory that
// was freed would look like references to whoever searches it for them.
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <functional>
#include <string>

#include "tests/support/start_runtime.hpp"

namespace fiberd::test {

/// What `tell` says in a child with a runtime. No assertions in there, and one call in a test case.
inline std::string in_a_child(const std::function<std::string(runtime::Runtime&)>& tell, unsigned processors = 2,
                              const runtime::Options& options = {}) {
  static constexpr const char* kEnd = "FIBERD_TEST_CHILD_TELLS";
  if (const char* const end = std::getenv(kEnd)) {
    try {
      const auto rt = start_runtime(processors, options);
      const std::string text = tell(*rt);
      for (std::size_t at = 0; at < text.size();) {
        const ssize_t n = write(std::atoi(end), text.data() + at, text.size() - at);
        if (n <= 0) break;
        at += static_cast<std::size_t>(n);
      }
      _exit(0);  // its fibers wait on
    } catch (...) {
      _exit(1);
    }
  }
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  std::string name;
  for (const char c : Catch::getResultCapture().getCurrentTestName()) {
    if (c == ',' || c == '[' || c == '\\') name += '\\';
    name += c;
  }
  const std::string end = std::to_string(ends[1]);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    (void)close(ends[0]);
    (void)setenv(kEnd, end.c_str(), 1);
    (void)execl("/proc/self/exe", "test", name.c_str(), nullptr);
    _exit(2);
  }
  close(ends[1]);
  std::string text;
  char piece[4096];
  for (ssize_t n = 0; (n = read(ends[0], piece, sizeof piece)) > 0;) text.append(piece, static_cast<std::size_t>(n));
  close(ends[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  return text;
}

}  // namespace fiberd::test

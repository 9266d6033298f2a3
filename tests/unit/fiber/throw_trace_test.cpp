#include "core/fiber/throw_trace.hpp"

#include <catch2/catch.hpp>
#include <exception>
#include <string>
#include <vector>

using namespace fiberd::fiber;

// Exported, so that the trace can name them; the volatile keeps the calls from being the functions' last act.
[[gnu::noinline]] int parse_the_port(const std::string& text) {
  volatile int port = std::stoi(text);
  return port;
}
[[gnu::noinline]] int look_beyond_the_end(const std::vector<int>& values) {
  volatile int found = values.at(values.size());
  return found;
}
[[gnu::noinline]] int who_called(int which) {
  volatile int result = which == 0 ? parse_the_port("eighty") : look_beyond_the_end({});
  return result;
}

TEST_CASE("a trace of what the C++ library threw goes on to the function that called it", "[fiber][throw]") {
  const char* const names[] = {"parse_the_port", "look_beyond_the_end"};
  for (int which = 0; which < 2; ++which) {
    std::string trace;
    try {
      (void)who_called(which);
    } catch (const std::exception&) {
      trace = throw_site_trace();
    }
    INFO(trace);
    const std::size_t thrower = trace.find(names[which]);
    const std::size_t caller = trace.find("who_called");
    CHECK(thrower != std::string::npos);
    CHECK(caller != std::string::npos);
    CHECK(thrower < caller);
  }
}

#include "core/fiber/backtrace.hpp"

#include <gnu/libc-version.h>

#include <array>
#include <catch2/catch.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/fiber/throw_trace.hpp"

using namespace fiberd::fiber;

namespace {

// Not static and not inlined, so that the frames exist.
[[gnu::noinline]] void throws_here() { throw std::runtime_error("thrown"); }
[[gnu::noinline]] void calls_what_throws() {
  throws_here();
  asm volatile("");
}
[[gnu::noinline]] std::size_t captures(std::span<std::uintptr_t> out) {
  const std::size_t n = capture_backtrace(out);
  asm volatile("");
  return n;
}

bool near(std::uintptr_t address, std::uintptr_t function) { return address > function && address - function < 4096; }

}  // namespace

TEST_CASE("the caller's backtrace begins with the caller", "[fiber][backtrace]") {
  std::array<std::uintptr_t, 8> frames{};
  const std::size_t n = captures(frames);
  REQUIRE(n >= 2);
  CHECK(near(frames[0], reinterpret_cast<std::uintptr_t>(&captures)));
  CHECK(capture_backtrace(std::span(frames).first(0)) == 0);
}

TEST_CASE("addresses get names or numbers", "[fiber][backtrace]") {
  // A function of a shared library is always known.
  const std::string known = symbolize(reinterpret_cast<std::uintptr_t>(&gnu_get_libc_version) + 1);
  CHECK(known.find("gnu_get_libc_version+0x1") == 0);
  CHECK(known.find("libc") != std::string::npos);
  CHECK(symbolize(0x10) == "0x10");
  CHECK(symbolize(0) == "0x0");
}

TEST_CASE("a caught exception knows where it was thrown", "[fiber][backtrace]") {
  std::exception_ptr kept;
  std::array<std::uintptr_t, kThrowFrames> frames{};
  try {
    calls_what_throws();
  } catch (...) {
    kept = std::current_exception();
    CHECK(throw_site_trace().find("\n    ") == 0);
  }
  const std::size_t n = throw_trace(kept, frames);
  REQUIRE(n >= 2);
  CHECK(near(frames[0], reinterpret_cast<std::uintptr_t>(&throws_here)));
  CHECK(near(frames[1], reinterpret_cast<std::uintptr_t>(&calls_what_throws)));

  SECTION("also after it was rethrown") {
    try {
      std::rethrow_exception(kept);
    } catch (...) {
      CHECK(throw_trace(std::current_exception(), frames) == n);
    }
  }
  SECTION("and on another thread") {
    std::size_t there = 0;
    std::thread([&] { there = throw_trace(kept, frames); }).join();
    CHECK(there == n);
  }
  SECTION("the library's own throws are recorded too") {
    try {
      (void)std::vector<int>().at(1);
      FAIL("nothing was thrown");
    } catch (const std::out_of_range&) {
      CHECK(throw_trace(std::current_exception(), frames) >= 1);
    }
  }
}

TEST_CASE("no exception, no trace", "[fiber][backtrace]") {
  std::array<std::uintptr_t, kThrowFrames> frames{};
  CHECK(throw_trace(nullptr, frames) == 0);
  CHECK(throw_site_trace() == " unknown");
}

TEST_CASE("threads that throw at once do not mix their traces", "[fiber][backtrace]") {
  std::array<std::size_t, 4> wrong{};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t)
    threads.emplace_back([&wrong, t] {
      for (int i = 0; i < 500; ++i) {
        try {
          if (t % 2 == 0)
            calls_what_throws();
          else
            throw static_cast<int>(t);
        } catch (const std::runtime_error&) {
          std::array<std::uintptr_t, kThrowFrames> frames{};
          const std::size_t n = throw_trace(std::current_exception(), frames);
          if (n != 0 && !near(frames[0], reinterpret_cast<std::uintptr_t>(&throws_here))) ++wrong[t];
        } catch (int value) {
          if (value != static_cast<int>(t)) ++wrong[t];
        }
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::array<std::size_t, 4>{});
}

#include "core/runtime/recover.hpp"

#include <catch2/catch.hpp>

#include <stdexcept>
#include <string>

#include "core/runtime/runtime.hpp"

using namespace fiberd::runtime;

// With linkage: found by name in the dynamic symbol table or shown as an offset, never inlined away.
[[gnu::noinline]] void recover_test_throws(int depth) {
  if (depth == 0) throw std::logic_error("deep");
  recover_test_throws(depth - 1);
  asm volatile("");  // no tail call
}

TEST_CASE("recover: nothing thrown is nothing", "[recover]") {
  bool ran = false;
  const Recovered r = recover([&] { ran = true; });
  CHECK(ran);
  CHECK_FALSE(r);
  CHECK(r.what().empty());
  CHECK(r.trace().empty());
  r.rethrow();
}

TEST_CASE("recover keeps the exception, its text and the frames of the throw", "[recover]") {
  const Recovered r = recover([] { recover_test_throws(3); });
  REQUIRE(r);
  CHECK(r.what() == "std::logic_error: deep");
  CHECK(r.trace().find("\n    ") == 0);
  CHECK(r.trace().find("recover_test_throws") != std::string::npos);
  // The frames are kept, not looked up again: many later throws do not change them.
  const std::string before = r.trace();
  for (int i = 0; i < 1000; ++i) (void)recover([i] { throw i; });
  CHECK(r.trace() == before);
  bool same = false;
  try {
    r.rethrow();
  } catch (const std::logic_error& e) {
    same = std::string(e.what()) == "deep";
  }
  CHECK(same);
}

TEST_CASE("recover: what is no std::exception is named by its type", "[recover]") {
  CHECK(recover([] { throw 42; }).what() == "exception of type int");
  CHECK(recover([] { throw std::string("text"); }).what().find("string") != std::string::npos);
}

TEST_CASE("recover on a fiber whose function parks between try and throw", "[recover]") {
  auto rt = Runtime::start({.gomaxprocs = 2});
  REQUIRE(rt);
  Recovered r;
  Recovered inner;
  (*rt)->run([&] {
    r = recover([&] {
      yield();
      try {
        recover_test_throws(1);
      } catch (...) {
        inner = recover([] {
          yield();
          recover_test_throws(2);
        });
        throw;
      }
    });
  });
  CHECK(r.what() == "std::logic_error: deep");
  CHECK(inner.what() == "std::logic_error: deep");
  CHECK(r.exception() != inner.exception());
  CHECK(r.trace().find("\n    ") == 0);
}

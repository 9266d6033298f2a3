// docs/handlers.md: fibers.
#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <string>
#include <system_error>

#include "core/runtime/blocking.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/integration/handlers_doc/page.hpp"

using namespace fiberd;
using namespace std::chrono_literals;

TEST_CASE("docs/handlers.md: fibers", "[integration][docs]") {
  std::array<int, 3> squares{};
  test::on_fibers([&squares] {
    sync::WaitGroup group;
    std::error_code failed;
    for (int i = 0; i < 3; ++i) {
      const Result<void> started = group.go("square", [&squares, i] {
        (void)runtime::sleep_for(1ms);
        squares[static_cast<std::size_t>(i)] = i * i;
      });
      if (!started) failed = started.error();  // no memory for it, or admission refused it
    }
    group.wait();
    if (failed) throw std::system_error(failed);
  });
  CHECK(squares == std::array{0, 1, 4});
}

TEST_CASE("docs/handlers.md: calls that block", "[integration][docs]") {
  std::string first;
  test::on_fibers([&first] {
    const std::string line = runtime::blocking([] {
      std::string read;
      std::ifstream file("/proc/self/comm");
      std::getline(file, read);
      return read;
    });
    first = line;
  });
  CHECK_FALSE(first.empty());
}

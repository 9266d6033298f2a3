#include "daemon/cpu_follower.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>

#include "tests/support/fake_host.hpp"
#include "tests/support/no_descriptors.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;
using daemon::CpuFollower;
using test::FakeHost;

TEST_CASE("GOMAXPROCS follows the CPU quota while it runs", "[daemon][gomaxprocs]") {
  const char* const own = std::getenv("GOMAXPROCS");
  const std::string before = own != nullptr ? own : "";
  ::unsetenv("GOMAXPROCS");
  const FakeHost host;
  host.write("proc/mountinfo", test::kV2);
  host.write("proc/cgroup", "0::/a\n");
  const std::string file = "root/sys/fs/cgroup/a/cpu.max";
  host.write(file, "max 100000\n");
  const auto rt = test::start_runtime(2);
  runtime::CpuLimits present;
  present.gomaxprocs = 2;
  CpuFollower follower(*rt, present, 0, host.sources(2));
  struct Step {
    const char* quota;
    unsigned gomaxprocs;
    std::uint64_t changes;
  };
  for (const Step& step : {Step{"max 100000\n", 2, 0}, Step{"150000 100000\n", 2, 0}, Step{"50000 100000\n", 1, 1},
                           Step{"60000 100000\n", 1, 1}, Step{"400000 100000\n", 2, 2}, Step{"100000 100000\n", 1, 3},
                           Step{"a lot\n", 2, 4}}) {
    CAPTURE(step.quota);
    host.write(file, step.quota);
    follower.look();
    CHECK(rt->gomaxprocs() == step.gomaxprocs);
    CHECK(follower.changes() == step.changes);
  }
  // Without a descriptor to look at it a quota is not gone.
  host.write(file, "100000 100000\n");
  follower.look();
  CHECK(rt->gomaxprocs() == 1);
  {
    const test::NoDescriptors none;
    follower.look();
    follower.configure(0);
  }
  CHECK(rt->gomaxprocs() == 1);
  // Who said a number keeps it.
  follower.configure(3);
  CHECK(rt->gomaxprocs() == 3);
  host.write(file, "100000 100000\n");
  follower.look();
  CHECK(rt->gomaxprocs() == 3);
  follower.configure(0);
  CHECK(rt->gomaxprocs() == 1);
  ::setenv("GOMAXPROCS", "2", 1);
  follower.look();
  CHECK(rt->gomaxprocs() == 2);
  host.write(file, "max 100000\n");
  follower.look();
  CHECK(rt->gomaxprocs() == 2);
  if (before.empty())
    ::unsetenv("GOMAXPROCS");
  else
    ::setenv("GOMAXPROCS", before.c_str(), 1);
}

#include "core/runtime/cgroup_memory.hpp"

#include <catch2/catch.hpp>
#include <fstream>
#include <string>

#include "tests/support/fake_host.hpp"
#include "tests/support/no_descriptors.hpp"

using namespace fiberd::runtime;
using fiberd::test::FakeHost;
using fiberd::test::kV1;
using fiberd::test::kV2;

TEST_CASE("cgroup memory: what the kernel can drop at once does not count", "[cgroup]") {
  const std::string stat =
      "anon 1000\nfile 900\nslab_reclaimable 5000\ninactive_file 300\nactive_file 500\nfile_dirty 100\n"
      "file_writeback 50\n";
  CHECK(charge_without_files(10'000, stat, 2) == 10'000 - 800 + 150);
  // Of version 1 the sums with the children count.
  const std::string v1 =
      "cache 1\ninactive_file 7\nactive_file 7\ndirty 7\ntotal_inactive_file 300\ntotal_active_file 500\n"
      "total_dirty 100\ntotal_writeback 50\n";
  CHECK(charge_without_files(10'000, v1, 1) == 10'000 - 800 + 150);
  struct Row {
    std::uint64_t usage;
    const char* stat;
    std::uint64_t charge;
  };
  for (const Row& row : {Row{10, "", 10}, Row{10, "inactive_file 20\n", 0}, Row{10, "inactive_file 4", 6},
                         Row{10, "inactive_file 4\nfile_dirty 9\n", 10}, Row{10, "inactive_file x\nnothing\n\n", 10}}) {
    CAPTURE(row.stat);
    CHECK(charge_without_files(row.usage, row.stat, 2) == row.charge);
  }
}

TEST_CASE("cgroup memory: version 2, and what changes while it is looked at", "[cgroup]") {
  const FakeHost host;
  host.write("proc/mountinfo", kV2);
  host.write("proc/cgroup", "0::/pod/own\n");
  const std::string top = "root/sys/fs/cgroup/";
  CgroupMemory memory(host.paths());
  CHECK(memory.look(0).limit == 0);
  host.write(top + "pod/own/memory.max", "max\n");
  host.write(top + "pod/own/memory.high", "max\n");
  host.write(top + "pod/own/memory.current", "400\n");
  CHECK(memory.look(1).limit == 0);
  // A limit that comes later is seen by the next look.
  host.write(top + "pod/own/memory.max", "1000\n");
  host.write(top + "pod/own/memory.stat", "inactive_file 60\nactive_file 40\n");
  MemoryCharge now = memory.look(2);
  CHECK(now.limit == 1000);
  CHECK(now.charge == 300);
  // memory.high is where allocations begin to be slowed down.
  host.write(top + "pod/own/memory.high", "600\n");
  CHECK(memory.look(3).limit == 600);
  // An ancestor is shared with others: its own charge against its own limit, and the nearest counts.
  host.write(top + "pod/memory.max", "2000\n");
  host.write(top + "pod/memory.current", "1900\n");
  now = memory.look(4);
  CHECK(now.limit == 2000);
  CHECK(now.charge == 1900);
  CHECK(now.share() == Approx(0.95));
  host.write(top + "pod/memory.current", "500\n");
  CHECK(memory.look(5).limit == 600);
  CHECK(memory.pressure_file() == host.directory() + "/" + top + "pod/own/memory.pressure");
  // It is moved elsewhere.
  host.write("proc/cgroup", "0::/other\n");
  host.write(top + "other/memory.max", "5000\n");
  host.write(top + "other/memory.current", "50\n");
  CHECK(memory.look(6).limit == 600);  // known for a quarter of a second
  CHECK(memory.look(1'000'000'000).limit == 5000);
  host.write(top + "other/memory.max", "0\n");
  CHECK(memory.look(1'000'000'000 + 1).share() == Approx(50));
  host.write(top + "other/memory.max", "much\n");
  CHECK(memory.look(1'000'000'000 + 2).limit == 0);
}

TEST_CASE("cgroup memory: version 1", "[cgroup]") {
  const FakeHost host;
  host.write("proc/mountinfo", kV1);
  host.write("proc/cgroup", "4:memory:/a\n0::/x\n");
  const std::string top = "root/sys/fs/cgroup/memory/";
  host.write(top + "a/memory.limit_in_bytes", "9223372036854771712\n");
  host.write(top + "a/memory.usage_in_bytes", "700\n");
  CgroupMemory memory(host.paths());
  CHECK(memory.look(0).limit == 0);
  host.write(top + "a/memory.limit_in_bytes", "1000\n");
  host.write(top + "a/memory.stat", "active_file 650\ntotal_inactive_file 50\ntotal_active_file 50\n");
  CHECK(memory.look(1).limit == 1000);
  CHECK(memory.look(1).charge == 600);
  CHECK(memory.pressure_file().empty());
}

TEST_CASE("cgroup memory: without a descriptor left it is looked at all the same", "[cgroup]") {
  const FakeHost host;
  const std::string own = "root/sys/fs/cgroup/own/";
  host.write("proc/mountinfo", kV2);
  host.write("proc/cgroup", "0::/own\n");
  host.write(own + "memory.max", "1000\n");
  host.write(own + "memory.current", "400\n");
  host.write(own + "memory.stat", "inactive_file 60\nactive_file 40\n");
  CgroupMemory memory(host.paths());
  CHECK(memory.look(0).charge == 300);
  std::ofstream current(host.directory() + "/" + own + "memory.current");
  MemoryCharge soon;
  MemoryCharge later;
  {
    const fiberd::test::NoDescriptors none;
    current << "950\n" << std::flush;
    soon = memory.look(1);
    later = memory.look(10'000'000'000);  // where it lies would be found anew
  }
  CHECK(soon.limit == 1000);
  CHECK(soon.charge == 850);
  CHECK(later.limit == 1000);
  CHECK(later.charge == 850);
  // It is moved once there are some again.
  host.write("proc/cgroup", "0::/other\n");
  CHECK(memory.look(20'000'000'000).limit == 0);
  host.write("proc/cgroup", "0::/own\n");
  CHECK(memory.look(30'000'000'000).charge == 850);
}

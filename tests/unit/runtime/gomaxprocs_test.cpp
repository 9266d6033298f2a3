#include "core/runtime/gomaxprocs.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "core/runtime/scheduler.hpp"
#include "tests/support/fake_host.hpp"

using namespace fiberd::runtime;
using fiberd::test::FakeHost;
using fiberd::test::kV1;
using fiberd::test::kV2;
namespace fs = std::filesystem;

TEST_CASE("the environment wins, then the configuration", "[gomaxprocs]") {
  const FakeHost host;
  CpuSources sources = host.sources(8);
  sources.environment = "3";
  sources.configured = 5;
  CHECK(detect_gomaxprocs(sources).gomaxprocs == 3);
  CHECK(detect_gomaxprocs(sources).source == "environment");
  sources.environment = nullptr;
  CHECK(detect_gomaxprocs(sources).gomaxprocs == 5);
  CHECK(detect_gomaxprocs(sources).source == "configuration");
  sources.configured = 0;
  CHECK(detect_gomaxprocs(sources).gomaxprocs == 8);
  CHECK(detect_gomaxprocs(sources).source == "affinity");
  CHECK(detect_gomaxprocs(sources).warning.empty());
}

TEST_CASE("an invalid environment is passed over and said", "[gomaxprocs]") {
  const FakeHost host;
  for (const char* bad : {"0", "-1", "two", "3x", " 3", "+3", "-99999999999"}) {
    CpuSources sources = host.sources(4);
    sources.environment = bad;
    const CpuLimits limits = detect_gomaxprocs(sources);
    CHECK(limits.gomaxprocs == 4);
    CHECK(limits.source == "affinity");
    CHECK(limits.warning.find(bad) != std::string::npos);
  }
  CpuSources empty = host.sources(4);
  empty.environment = "";
  CHECK(detect_gomaxprocs(empty).warning.empty());
}

TEST_CASE("version 2: the least quota over the hierarchy, rounded up", "[gomaxprocs]") {
  const FakeHost host;
  host.write("proc/cgroup", "0::/system.slice/fiberd.service\n");
  host.write("proc/mountinfo", kV2);
  host.write("root/sys/fs/cgroup/system.slice/fiberd.service/cpu.max", "max 100000\n");
  host.write("root/sys/fs/cgroup/system.slice/cpu.max", "250000 100000\n");
  CHECK(cgroup_cpu_quota(host.paths()) == 2.5);
  CHECK(detect_gomaxprocs(host.sources(8)).gomaxprocs == 3);
  CHECK(detect_gomaxprocs(host.sources(8)).source == "cgroup quota 2.50");
  CHECK(detect_gomaxprocs(host.sources(2)).gomaxprocs == 2);
  CHECK(detect_gomaxprocs(host.sources(2)).source == "affinity");
  CHECK(detect_gomaxprocs(host.sources(3)).source == "affinity; cgroup quota 2.50, rounded up, is as many");
  host.write("root/sys/fs/cgroup/system.slice/fiberd.service/cpu.max", "20000 100000\n");
  CHECK(detect_gomaxprocs(host.sources(8)).gomaxprocs == 1);
}

TEST_CASE("version 1 and hybrid", "[gomaxprocs]") {
  const FakeHost host;
  host.write("proc/cgroup", "12:memory:/a\n4:cpu,cpuacct:/a/b\n1:name=systemd:/x\n0::/ignored\n");
  host.write("proc/mountinfo", kV1);
  host.write("root/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "-1\n");
  host.write("root/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n");
  CHECK_FALSE(cgroup_cpu_quota(host.paths()));
  host.write("root/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "150000\n");
  host.write("root/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "50000\n");
  host.write("root/sys/fs/cgroup/unified/ignored/cpu.max", "10000 100000\n");
  CHECK(cgroup_cpu_quota(host.paths()) == 3.0);
}

TEST_CASE("containers: the mount starts at a sub path; or names a path it does not hold", "[gomaxprocs]") {
  const FakeHost host;
  host.write("proc/cgroup", "0::/docker/abc/child\n");
  host.write("proc/mountinfo", "30 23 0:26 /docker/abc /sys/fs/cgro\\040up rw - cgroup2 cgroup2 rw\n");
  host.write("root/sys/fs/cgro up/cpu.max", "400000 100000\n");
  host.write("root/sys/fs/cgro up/child/cpu.max", "200000 100000\n");
  CHECK(cgroup_cpu_quota(host.paths()) == 2.0);
  for (const char* path : {"0::/docker/abcdef\n", "0::/../../other\n", "0::/\n"}) {
    host.write("proc/cgroup", path);
    CHECK(cgroup_cpu_quota(host.paths()) == 4.0);
  }
}

TEST_CASE("of several mounts of a hierarchy the one that holds the own group counts", "[gomaxprocs]") {
  const FakeHost host;
  // Somebody's group is mounted elsewhere, and comes first.
  const std::string others = "29 23 0:26 /others /mnt/others rw - cgroup2 none rw\n";
  host.write("root/mnt/others/cpu.max", "100000 100000\n");
  host.write("root/sys/fs/cgroup/own/cpu.max", "600000 100000\n");
  for (const std::string& mounts : {others + kV2, kV2 + others}) {
    INFO(mounts);
    host.write("proc/mountinfo", mounts);
    host.write("proc/cgroup", "0::/own\n");
    CHECK(cgroup_cpu_quota(host.paths()) == 6.0);
    // The same name at its beginning is not the same group.
    host.write("proc/cgroup", "0::/others2\n");
    CHECK_FALSE(cgroup_cpu_quota(host.paths()));
  }
  host.write("proc/mountinfo", others);
  CHECK(cgroup_cpu_quota(host.paths()) == 1.0);
}

TEST_CASE("quotas that make no sense are none", "[gomaxprocs]") {
  const FakeHost host;
  host.write("proc/cgroup", "0::/a/b\n");
  host.write("proc/mountinfo", kV2);
  host.write("root/sys/fs/cgroup/a/b/cpu.max", "many 100000\n");
  CHECK_FALSE(cgroup_cpu_quota(host.paths()));
  host.write("root/sys/fs/cgroup/a/b/cpu.max", "100000 0\n");
  CHECK_FALSE(cgroup_cpu_quota(host.paths()));
}

TEST_CASE("what was asked for and cannot be is refused by name, with the range", "[gomaxprocs]") {
  const FakeHost host;
  for (const char* many : {"1025", "99999999999", "99999999999999999999999"}) {
    CpuSources sources = host.sources(4);
    sources.environment = many;
    const CpuLimits limits = detect_gomaxprocs(sources);
    INFO(limits.error);
    CHECK(limits.error.find("GOMAXPROCS=\"" + std::string(many) + "\" in the environment") != std::string::npos);
    CHECK(limits.error.find("1 … 1024") != std::string::npos);
  }
  CpuSources sources = host.sources(4);
  sources.configured = 5000;
  CHECK(detect_gomaxprocs(sources).error.find("gomaxprocs 5000 of the configuration") != std::string::npos);
  sources.configured = 1024;
  CHECK(detect_gomaxprocs(sources).error.empty());
  CHECK(detect_gomaxprocs(sources).gomaxprocs == 1024);
  CHECK(Runtime::start({.gomaxprocs = 1025}).error() == std::errc::invalid_argument);
}

TEST_CASE("what was found on a large machine is brought down, and said", "[gomaxprocs]") {
  const FakeHost host;
  const CpuLimits all = detect_gomaxprocs(host.sources(1024));
  CHECK(all.gomaxprocs == 1024);
  CHECK(all.warning.empty());
  const CpuLimits more = detect_gomaxprocs(host.sources(1500));
  CHECK(more.gomaxprocs == 1024);
  CHECK(more.error.empty());
  CHECK(more.warning.find("1500 CPUs") != std::string::npos);
  // Two descriptors a Processor, and half of them for connections.
  CpuSources few = host.sources(512);
  few.descriptors = 1024;
  CHECK(detect_gomaxprocs(few).gomaxprocs == 256);
  CHECK(detect_gomaxprocs(few).warning.find("1024 open files") != std::string::npos);
  few.environment = "abc";
  CHECK(detect_gomaxprocs(few).warning.find("abc") != std::string::npos);
  CHECK(detect_gomaxprocs(few).warning.find("1024 open files") != std::string::npos);
  few.environment = "512";  // whoever asks gets it, or the reason why not
  CHECK(detect_gomaxprocs(few).gomaxprocs == 512);
  few.environment = nullptr;
  few.affinity = 16;
  CHECK(detect_gomaxprocs(few).warning.empty());
  few.descriptors = 3;
  CHECK(detect_gomaxprocs(few).gomaxprocs == 1);
}

TEST_CASE("masks of kernels for thousands of CPUs are read, however few are in them", "[gomaxprocs]") {
  // As a kernel for 8,192 CPUs: shorter masks are refused.
  const auto large = [](pid_t, std::size_t size, cpu_set_t* set) noexcept {
    if (size < 8192 / 8) {
      errno = EINVAL;
      return -1;
    }
    CPU_ZERO_S(size, set);
    for (const std::size_t cpu : {3U, 1025U, 8191U}) CPU_SET_S(cpu, size, set);
    return 0;
  };
  CHECK(affinity_cpus(large) == 3);
  const auto never = [](pid_t, std::size_t, cpu_set_t*) noexcept {
    errno = EINVAL;
    return -1;
  };
  CHECK(affinity_cpus(never) >= 1);
}

TEST_CASE("more Processors than 256: each runs its fibers, and sleepers are found", "[gomaxprocs]") {
#if defined(FIBERD_TSAN) || defined(FIBERD_ASAN)
  constexpr unsigned kProcessors = 270;
#else
  constexpr unsigned kProcessors = 520;  // more than the metric shards that there were
#endif
  rlimit limit{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < 4 * kProcessors) return;
  std::atomic<unsigned> ran{0};
  std::atomic<unsigned> elsewhere{0};
  auto rt = Runtime::start({.gomaxprocs = kProcessors});
  REQUIRE(rt.has_value());
  (*rt)->run([&] {
    CHECK(gomaxprocs() == kProcessors);
    for (unsigned round = 0; round < 2; ++round)
      for (unsigned i = 0; i < kProcessors; ++i)
        (void)spawn_on(i, "pinned", [&, i] {
          elsewhere += Machine::current_machine()->processor->slot->index != i;
          ++ran;
        });
  });
  for (int i = 0; i < 60'000 && ran != 2 * kProcessors; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK(ran == 2 * kProcessors);
  CHECK(elsewhere == 0);
  (*rt)->set_gomaxprocs(2);
  (*rt)->set_gomaxprocs(kProcessors + 1);  // there is room for no more
  CHECK((*rt)->gomaxprocs() == kProcessors);
}

TEST_CASE("this machine has a CPU", "[gomaxprocs]") {
  CHECK(affinity_cpus() >= 1);
  CHECK(detect_gomaxprocs().gomaxprocs >= 1);
}

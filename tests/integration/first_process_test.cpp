// The daemon as the first process of a container: what others leave behind there is taken away.
#include <catch2/catch.hpp>
#include <filesystem>
#include <string>

#include "tests/integration/configurations.hpp"
#include "tests/support/daemon.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

TEST_CASE("many orphans that end together are all taken away together", "[integration][daemon][orphans]") {
  const std::vector<std::string> contained{"unshare", "-Urpf", "--mount-proc", "sh", "-c"};
  if (run({"unshare", "-Urpf", "--mount-proc", "true"}).code != 0) {
    WARN("skipped: no namespace of processes is to be had here");
    return;
  }
  const TemporaryDirectory directory;
  const std::string config = directory.write("f.yaml", with_listeners(http_listener("web", says("/", "hello"))));
  const std::string left = directory.path() + "/left";
  // Who stays behind as a child of the daemon's: waits for it to serve, leaves 200 orphans, waits for them to be gone,
  // says how many are not, and stops it. One every half a second would take 100 s.
  const std::string script =
      directory.write("leave",
                      "dead() { grep -l '^State:.Z' /proc/[0-9]*/status 2> /dev/null | wc -l; }\n"
                      "until grep -q started '" +
                          directory.path() +
                          "/log'; do sleep 0.1; done\n"
                          "i=0; while [ $i -lt 200 ]; do (sleep 0.1 &) ; i=$((i + 1)); done\n"
                          "sleep 0.3\n"
                          "i=0; while [ $(dead) -gt 0 ] && [ $i -lt 120 ]; do sleep 0.5; i=$((i + 1)); done\n"
                          "dead > '" +
                          left +
                          "'\n"
                          "kill -TERM 1\n");
  std::vector<std::string> all(contained);
  all.push_back("sh '" + script + "' & exec " FIBERD_BINARY " run -c '" + config + "' 2> '" + directory.path() +
                "/log'");
  CHECK(run(all, 120s).code == 0);
  INFO(read_file(directory.path() + "/log"));
  CHECK(read_file(left) == "0\n");
}

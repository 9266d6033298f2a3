// What has to be watched for a name: each directory that decides what it means.
#include <catch2/catch.hpp>
#include <filesystem>
#include <string>

#include "daemon/file_watch.hpp"
#include "tests/support/daemon.hpp"

using namespace fiberd::daemon;
using fiberd::test::TemporaryDirectory;
namespace fs = std::filesystem;

namespace {

using Names = std::set<std::string>;

Names names_in(const WatchTargets& targets, const std::string& directory) {
  const auto at = targets.directories().find(directory);
  return at != targets.directories().end() ? at->second : Names{};
}

}  // namespace

TEST_CASE("a file: its directory, each link on the way, and the file itself", "[daemon][file_watch]") {
  const TemporaryDirectory temporary;
  const std::string root = fs::canonical(temporary.path()).string();
  fs::create_directories(root + "/conf/..v1");
  fs::create_directories(root + "/real");
  const std::string file = temporary.write("conf/..v1/f.yaml", "x");
  fs::create_symlink("..v1", root + "/conf/..data");
  fs::create_symlink("..data/f.yaml", root + "/conf/f.yaml");
  WatchTargets targets;
  targets.add({{}, root + "/conf/f.yaml"});
  CHECK(names_in(targets, root + "/conf") == Names{"f.yaml", "..data"});
  CHECK(names_in(targets, root + "/conf/..v1") == Names{"f.yaml"});
  CHECK(targets.files() == Names{root + "/conf/..v1/f.yaml"});
  // A link of a directory, absolute, and a name with what is special in patterns.
  fs::create_symlink(root + "/conf", root + "/current");
  (void)temporary.write("conf/a[1].yaml", "x");
  WatchTargets linked;
  linked.add({root + "/current/", "a\\[1].yaml"});
  CHECK(names_in(linked, root) == Names{"current"});
  CHECK(names_in(linked, root + "/conf") == Names{"a\\[1].yaml"});
  CHECK(linked.files() == Names{root + "/conf/a[1].yaml"});
}

TEST_CASE("a pattern: the directory that it is looked up in, and each directory that it goes through",
          "[daemon][file_watch]") {
  const TemporaryDirectory temporary;
  const std::string root = fs::canonical(temporary.path()).string();
  fs::create_directories(root + "/sites/a");
  fs::create_directories(root + "/sites/b");
  (void)temporary.write("sites/a/x.yaml", "x");
  WatchTargets targets;
  targets.add({root + "/", "sites/*/*.yaml"});
  CHECK(names_in(targets, root + "/sites") == Names{"*"});
  CHECK(names_in(targets, root + "/sites/a") == Names{"*.yaml", "x.yaml"});
  CHECK(names_in(targets, root + "/sites/b") == Names{"*.yaml"});
  CHECK(targets.files() == Names{root + "/sites/a/x.yaml"});
}

TEST_CASE("each directory on the way is watched, too, and one where a file is meant", "[daemon][file_watch]") {
  const TemporaryDirectory temporary;
  const std::string root = fs::canonical(temporary.path()).string();
  fs::create_directories(root + "/release/conf/f.yaml");
  WatchTargets targets;
  targets.add({{}, root + "/release/conf/f.yaml"});
  for (const char* const below : {"", "/release", "/release/conf", "/release/conf/f.yaml"}) {
    INFO(below);
    CHECK(targets.directories().contains(root + below));
    CHECK(names_in(targets, root + below).empty());
  }
  CHECK(targets.files().empty());
}

TEST_CASE("what is not there is watched for where it would be; links that go round end", "[daemon][file_watch]") {
  const TemporaryDirectory temporary;
  const std::string root = fs::canonical(temporary.path()).string();
  WatchTargets targets;
  targets.add({{}, root + "/not/there/f.yaml"});
  CHECK(names_in(targets, root) == Names{"not"});
  fs::create_symlink("b", root + "/a");
  fs::create_symlink("a", root + "/b");
  WatchTargets round;
  round.add({{}, root + "/a/f.yaml"});
  CHECK(names_in(round, root) == Names{"a", "b"});
  WatchTargets relative;
  relative.add({{}, "./no-such-file.yaml"});
  CHECK(names_in(relative, ".") == Names{"no-such-file.yaml"});
}

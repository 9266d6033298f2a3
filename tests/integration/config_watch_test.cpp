// config.watch: a change of the configuration's files is a reload, whatever way it is made.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <filesystem>
#include <string>

#include "tests/integration/configurations.hpp"
#include "tests/integration/conversations.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

namespace fs = std::filesystem;

std::string watched_site(const std::string& body, const std::string& rest = "config: {watch: true}\n") {
  return with_listeners(http_listener("web", says("/", body)), rest);
}
bool comes_to_say(const Daemon& daemon, const std::string& body) {
  return eventually([&] { return ask(daemon.port("web"), "/") == "200 " + body; }, 30s);
}
bool comes_to(const Daemon& daemon, const std::string& sample, double value) {
  return eventually([&] { return daemon.metric(sample) == value; }, 30s);
}
/// Before it is so, a change is found by the look that begins the watch, and not by an event.
void wait_until_watched(const Daemon& daemon) {
  REQUIRE(eventually([&] { return daemon.metric("fiberd_config_watches").value_or(0) > 0; }, 30s));
}
std::string folder_of(const Daemon& daemon) { return fs::path(daemon.config_file()).parent_path().string(); }

void write_to(const std::string& path, const std::string& text) {
  std::FILE* const file = std::fopen(path.c_str(), "w");
  REQUIRE(file != nullptr);
  CHECK(std::fwrite(text.data(), 1, text.size(), file) == text.size());
  CHECK(std::fclose(file) == 0);
}
/// A new file, or a new link, under an old name.
void put_in_place(const std::string& path, const std::string& text) {
  write_to(path + ".new", text);
  fs::rename(path + ".new", path);
}
void link_in_place(const std::string& to, const std::string& path) {
  fs::remove(path + ".new");
  fs::create_symlink(to, path + ".new");
  fs::rename(path + ".new", path);
}

}  // namespace

TEST_CASE("config.watch: written in place, replaced, wrong, gone, and there again", "[integration][watch]") {
  Daemon daemon(watched_site("one"));
  wait_until_watched(daemon);
  daemon.write_config(watched_site("two"));
  CHECK(comes_to_say(daemon, "two"));
  CHECK(
      daemon.wait_for_log("config.watch: " + daemon.config_file() + " has changed: the configuration is loaded anew"));
  put_in_place(daemon.config_file(), watched_site("three"));
  CHECK(comes_to_say(daemon, "three"));
  CHECK(comes_to(daemon, "fiberd_config_last_reload_successful", 1));
  put_in_place(daemon.config_file(), "listeners: 5\n");
  CHECK(comes_to(daemon, "fiberd_config_last_reload_successful", 0));
  CHECK(ask(daemon.port("web"), "/") == "200 three");
  CHECK(comes_to(daemon, "fiberd_config_reloads_total{result=\"failure\"}", 1));
  fs::remove(daemon.config_file());
  CHECK(comes_to(daemon, "fiberd_config_reloads_total{result=\"failure\"}", 2));
  put_in_place(daemon.config_file(), watched_site("four"));
  CHECK(comes_to_say(daemon, "four"));
  CHECK(comes_to(daemon, "fiberd_config_last_reload_successful", 1));
  CHECK(daemon.metric("fiberd_config_watch_failures_total") == 0);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("config.watch: what is the same, and what is beside it, reloads nothing", "[integration][watch]") {
  Daemon daemon(watched_site("one"));
  wait_until_watched(daemon);
  put_in_place(daemon.config_file(), watched_site("one"));
  write_to(folder_of(daemon) + "/other.yaml", "nonsense");
  // What comes behind it has been seen behind it.
  daemon.write_config(watched_site("two"));
  CHECK(comes_to_say(daemon, "two"));
  CHECK(daemon.wait_for_log(": listener web changed", 30s));  // what is new serves before it is counted
  CHECK(daemon.metric("fiberd_config_reloads_total{result=\"success\"}") == 1);
  CHECK(daemon.metric("fiberd_config_reloads_total{result=\"failure\"}") == 0);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("config.watch: a ConfigMap's link is swapped ten times a second, and the last one wins",
          "[integration][watch]") {
  Daemon daemon(watched_site("one"));
  const std::string directory = folder_of(daemon);
  wait_until_watched(daemon);
  const auto publish = [&](const std::string& version, const std::string& body) {
    fs::create_directory(directory + "/.." + version);
    write_to(directory + "/.." + version + "/fiberd.yaml", watched_site(body));
    link_in_place(".." + version, directory + "/..data");
  };
  // The file becomes what a volume shows of a ConfigMap: a link through a link.
  publish("v0", "two");
  link_in_place("..data/fiberd.yaml", daemon.config_file());
  CHECK(comes_to_say(daemon, "two"));
  static constexpr int kSwaps = 30;
  HttpClient kept(daemon.port("web"));
  for (int i = 1; i <= kSwaps; ++i) {
    publish("v" + std::to_string(i), "v" + std::to_string(i));
    fs::remove_all(directory + "/..v" + std::to_string(i - 1));
    CHECK(ask(kept, "/").starts_with("200 "));
    ::usleep(100'000);  // ten a second: this is what is tested
  }
  CHECK(comes_to_say(daemon, "v" + std::to_string(kSwaps)));
  CHECK(comes_to(daemon, "fiberd_config_last_reload_successful", 1));
  CHECK(daemon.metric("fiberd_config_reloads_total{result=\"success\"}").value_or(0) <= kSwaps + 1);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("config.watch: a directory above is put in the place of another, and a directory where the file was",
          "[integration][watch]") {
  Daemon daemon(watched_site("one"));
  const std::string folder = folder_of(daemon);
  const std::string release = folder + "/release";
  const std::string file = release + "/conf/fiberd.yaml";
  fs::create_directories(release + "/conf");
  write_to(file, watched_site("two"));
  wait_until_watched(daemon);
  link_in_place(file, daemon.config_file());
  REQUIRE(comes_to_say(daemon, "two"));
  fs::create_directories(folder + "/next/conf");
  write_to(folder + "/next/conf/fiberd.yaml", watched_site("three"));
  fs::rename(release, folder + "/before");
  fs::rename(folder + "/next", release);
  CHECK(comes_to_say(daemon, "three"));
  write_to(file, watched_site("four"));
  CHECK(comes_to_say(daemon, "four"));
  fs::remove(file);
  fs::create_directory(file);
  CHECK(daemon.wait_for_log("cannot be read: Is a directory", 30s));
  fs::remove(file);
  write_to(file, watched_site("five"));
  CHECK(comes_to_say(daemon, "five"));
  CHECK(daemon.metric("fiberd_config_watch_failures_total") == 0);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("config.watch: included files come, change and go; also into a directory that was not there",
          "[integration][watch]") {
  const std::string include = "include: [conf.d/*.yaml]\n";
  Daemon daemon(watched_site("one", "config: {watch: true}\n" + include));
  wait_until_watched(daemon);
  const std::string conf = folder_of(daemon) + "/conf.d";
  const auto listeners = [&](const std::string& name) {
    return eventually(
        [&] {
          return daemon.admin("/debug/status").find("{\"listener\":\"" + name + "\",\"address\":") != std::string::npos;
        },
        30s);
  };
  fs::create_directory(conf);
  put_in_place(conf + "/a.yaml", "listeners: [{name: more, address: \"127.0.0.1:0\", tcp: {echo: {}}}]\n");
  CHECK(listeners("more"));
  put_in_place(conf + "/a.yaml", "listeners: [{name: other, address: \"127.0.0.1:0\", tcp: {echo: {}}}]\n");
  CHECK(listeners("other"));
  fs::remove(conf + "/a.yaml");
  CHECK(eventually([&] { return daemon.admin("/debug/status").find("\"other\",\"address\"") == std::string::npos; },
                   30s));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("config.watch is switched on and off by reloads", "[integration][watch]") {
  Daemon daemon(watched_site("one", ""));
  CHECK(daemon.metric("fiberd_config_watches") == 0);
  CHECK(reload(daemon, watched_site("two")).status == 200);
  wait_until_watched(daemon);
  daemon.write_config(watched_site("three", ""));
  CHECK(comes_to_say(daemon, "three"));
  CHECK(comes_to(daemon, "fiberd_config_watches", 0));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("config.watch: no inotify instance is left", "[integration][watch]") {
  // A user namespace has a limit of its own.
  const TemporaryDirectory directory;
  const std::string script = directory.write(
      "none",
      "#!/bin/sh\nexec unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_inotify_instances && exec \"$0\" \"$@\"' " +
          std::string(FIBERD_BINARY) + " \"$@\"\n");
  fs::permissions(script, fs::perms::owner_all);
  if (run({"unshare", "-Ur", "sh", "-c", "echo 0 > /proc/sys/user/max_inotify_instances"}).code != 0) {
    WARN("skipped: no user namespace with limits of its own is to be had here");
    return;
  }
  Daemon daemon(watched_site("one"), {.program = script});
  CHECK(daemon.wait_for_log("no inotify instance is left (fs.inotify.max_user_instances)"));
  CHECK(comes_to(daemon, "fiberd_config_watch_failures_total", 1));
  CHECK(daemon.metric("fiberd_config_watches") == 0);
  CHECK(ask(daemon.port("web"), "/") == "200 one");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("config.watch needs a file", "[integration][watch]") {
  const Finished refused = run({FIBERD_BINARY, "run", "--set", "config.watch=true"});
  CHECK(refused.code == 2);
  CHECK(refused.errors.find("config.watch: is for a configuration's file") != std::string::npos);
}

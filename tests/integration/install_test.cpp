// `cmake --install` of this build, and a program outside of the tree that finds it. The tree is moved after it was
// installed: nothing in it may know where it was made.
#include <signal.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <regex>
#include <thread>

#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

namespace fs = std::filesystem;

const std::string kConsumer = FIBERD_SOURCE_DIR "/tests/integration/consumer";

void must_run(const std::vector<std::string>& command) {
  const Finished done = run(command, 300s);
  INFO(command[0] << " " << command[1] << "\n" << done.output << done.errors);
  REQUIRE(done.code == 0);
}

/// Configures with this build's compiler; `more` are further arguments.
std::vector<std::string> configure(const std::string& source, const std::string& build,
                                   const std::vector<std::string>& more) {
  std::vector<std::string> command{FIBERD_CMAKE,
                                   "-G",
                                   FIBERD_GENERATOR,
                                   "-S",
                                   source,
                                   "-B",
                                   build,
                                   "-DCMAKE_BUILD_TYPE=Release",
                                   "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wconversion -Wshadow -Werror",
                                   "-DCMAKE_CXX_COMPILER=" FIBERD_CXX_COMPILER};
  command.insert(command.end(), more.begin(), more.end());
  return command;
}

std::vector<std::string> files_below(const fs::path& root) {
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(root))
    if (entry.is_regular_file()) found.push_back(fs::relative(entry.path(), root).generic_string());
  return found;
}

// Of undefined behaviour, too, which the compiler says nothing about.
const bool kSanitizedBuild = std::string_view(FIBERD_SANITIZED) != "";

bool has(const std::vector<std::string>& files, std::string_view end) {
  for (const std::string& file : files)
    if (file.ends_with(end)) return true;
  return false;
}

}  // namespace

TEST_CASE("a program outside of the tree is built against what was installed, and runs", "[integration][install]") {
  if (kSanitizedBuild) return;  // compilers are slow enough without
  const TemporaryDirectory directory;
  const std::string made = directory.path() + "/made";
  const std::string moved = directory.path() + "/moved";
  must_run({FIBERD_CMAKE, "--install", FIBERD_BUILD_DIR, "--prefix", made});
  fs::rename(made, moved);
  const std::vector<std::string> files = files_below(moved);
  for (const char* file : {"bin/fiberd",
                           "/libfiberd_core.a",
                           "/libfiberd_daemon.a",
                           "/cmake/fiberd/fiberdConfig.cmake",
                           "include/fiberd/core/runtime/runtime.hpp",
                           "include/fiberd/daemon/daemon.hpp",
                           "include/fiberd/fiberd.hpp",
                           "doc/fiberd/LICENSE",
                           "doc/fiberd/examples/minimal.yaml",
                           "doc/fiberd/docs/handlers.md",
                           "lib/systemd/system/fiberd.service",
                           "lib/systemd/system/fiberd@.service",
                           "lib/sysusers.d/fiberd.conf",
                           "lib/tmpfiles.d/fiberd.conf",
                           "doc/fiberd/systemd/privileged-ports.conf",
                           "man/man1/fiberd.1",
                           "man/man5/fiberd.yaml.5",
                           "bash-completion/completions/fiberd",
                           "zsh/site-functions/_fiberd",
                           "fish/vendor_completions.d/fiberd.fish"}) {
    INFO(file);
    CHECK(has(files, file));
  }
  // The unit starts what was installed, wherever that is.
  const std::string unit = read_file(moved + "/lib/systemd/system/fiberd.service");
  CHECK(unit.find("\nExecStart=" + made + "/bin/fiberd run -c /etc/fiberd/fiberd.yaml\n") != std::string::npos);
  CHECK(unit.find("\nExecReload=" + made + "/bin/fiberd reload ") != std::string::npos);
  // Links of what is installed lead to what is installed.
  static const std::regex kLink(R"re(\]\(([A-Za-z0-9_./-]+)(?:#[^)]*)?\))re");
  std::size_t links = 0;
  for (const std::string& file : files) {
    if (!file.ends_with(".md")) continue;
    const fs::path page = fs::path(moved) / file;
    const std::string text = read_file(page.string());
    for (std::sregex_iterator it(text.begin(), text.end(), kLink); it != std::sregex_iterator(); ++it, ++links) {
      INFO(file << ": " << (*it)[1]);
      CHECK(fs::exists(page.parent_path() / (*it)[1].str()));
    }
  }
  CHECK(links > 20);
  for (const std::string& file : files) {
    if (!file.ends_with(".cmake") && !file.ends_with(".hpp")) continue;
    const std::string text = read_file(moved + "/" + file);
    INFO(file);
    CHECK(text.find(FIBERD_SOURCE_DIR) == std::string::npos);
    CHECK(text.find(made) == std::string::npos);
    for (const char* include : {"#include \"core/", "#include \"config/", "#include \"daemon/"})
      CHECK(text.find(include) == std::string::npos);
  }

  const std::string build = directory.path() + "/build";
  must_run(configure(kConsumer, build, {"-DCMAKE_PREFIX_PATH=" + moved}));
  must_run({FIBERD_CMAKE, "--build", build});
  const std::string program = build + "/greeter";
  Daemon daemon(
      "admin: {address: \"127.0.0.1:0\"}\n"
      "listeners:\n"
      "  - {name: web, address: \"127.0.0.1:0\", http: {routes: [{path: /greeting, handler: greeting}]}}\n"
      "  - {name: shout, address: \"127.0.0.1:0\", tcp: {handler: shout}}\n",
      {.program = program});
  HttpClient web(daemon.port("web"));
  const std::optional<Answer> answer = web.ask(get("/greeting"));
  REQUIRE(answer.has_value());
  CHECK(answer->status == 200);
  CHECK(answer->body == "hello from a fiber\n");
  HttpClient tcp(daemon.port("shout"));
  tcp.send("hello");
  while (tcp.rest().size() < 5 && tcp.more()) {
  }
  CHECK(tcp.rest() == "HELLO");
  CHECK(daemon.stop() == 0);
  CHECK(run({program, "version"}).output == run({moved + "/bin/fiberd", "version"}).output);
}

TEST_CASE("fiberd::core alone is found without what only the daemon needs", "[integration][install]") {
  const std::string component = GENERATE("core", "development");
  if (kSanitizedBuild && component != "core") return;
  const TemporaryDirectory directory;
  const std::string prefix = directory.path() + "/prefix";
  must_run({FIBERD_CMAKE, "--install", FIBERD_BUILD_DIR, "--prefix", prefix, "--component", component});
  CHECK_FALSE(fs::exists(prefix + "/bin"));
  const std::vector<std::string> files = files_below(prefix);
  CHECK(has(files, "/libfiberd_core.a"));
  CHECK(has(files, "include/fiberd/core/runtime/runtime.hpp"));
  CHECK(has(files, "include/fiberd/core.hpp"));
  if (component == "core") {
    for (const std::string& file : files) {
      INFO(file);
      CHECK(file.find("daemon") == std::string::npos);
      CHECK(file.find("config/") == std::string::npos);
      CHECK(file.find("libfiberd_config") == std::string::npos);
    }
  } else {
    CHECK(has(files, "/libfiberd_daemon.a"));
  }
  // A folder and a header of the program's own that are called as ours are not mixed up with them.
  fs::create_directory(directory.path() + "/core");
  fs::create_directory(directory.path() + "/config");
  directory.write("core/result.hpp", "inline int answer() { return 42; }\n");
  directory.write("config/config.hpp", "#include \"core/result.hpp\"\n");
  directory.write("main.cpp",
                  "#include <cstdio>\n#include <fiberd/core.hpp>\n#include <stdexcept>\n"
                  "#include \"config/config.hpp\"\n"
                  "volatile bool always = true;\n"
                  "namespace {\n"
                  "[[gnu::noinline]] void hidden() {\n  if (always) throw std::runtime_error(\"on purpose\");\n}\n"
                  "}  // namespace\n"
                  "[[gnu::noinline]] void seen() {\n  hidden();\n  std::puts(\"not reached\");\n}\n"
                  "int main() {\n"
                  "  auto runtime = fiberd::runtime::Runtime::start({.gomaxprocs = 1});\n"
                  "  int got = 0;\n"
                  "  if (runtime) (*runtime)->run([&] {\n"
                  "    got = answer();\n"
                  "    std::puts(fiberd::runtime::recover([] { seen(); }).trace().c_str());\n"
                  "  });\n"
                  "  return got == 42 && fiberd::http::Server::make({}, {}) ? 0 : 1;\n"
                  "}\n");
  directory.write(
      "CMakeLists.txt",
      "cmake_minimum_required(VERSION 3.25)\nproject(own LANGUAGES CXX)\n"
      "find_package(fiberd 0.1 REQUIRED COMPONENTS core)\n"
      "if(TARGET fiberd::daemon OR TARGET yaml-cpp)\n  message(FATAL_ERROR \"more than core\")\nendif()\n"
      "add_executable(own main.cpp)\n"
      "target_include_directories(own PRIVATE .)\n"
      "target_compile_options(own PRIVATE -g1)\n"
      "target_link_libraries(own PRIVATE fiberd::core)\n"
      "add_executable(unseen heap.cpp)\ntarget_link_libraries(unseen PRIVATE fiberd::core)\n"
      "add_executable(seen heap.cpp)\ntarget_link_libraries(seen PRIVATE fiberd::core fiberd::heap_profile)\n");
  // Whose allocations are sampled is for the program to say: fiberd::heap_profile brings a malloc of its own.
  directory.write("heap.cpp",
                  "#include <fiberd/core/runtime/profile_rates.hpp>\n"
                  "int main() { return fiberd::runtime::set_mem_profile_rate(4096) ? 0 : 7; }\n");
  const std::string build = directory.path() + "/build";
  must_run(configure(directory.path(), build, {"-DCMAKE_PREFIX_PATH=" + prefix}));
  must_run({FIBERD_CMAKE, "--build", build});
  const Finished ran = run({build + "/own"});
  CHECK(ran.code == 0);
  CHECK(run({build + "/unseen"}).code == 7);
  CHECK(run({build + "/seen"}).code == (kSanitizedBuild ? 7 : 0));
  // Exported functions of the program are named in its traces; of others addr2line knows, as docs/handlers.md says.
  INFO(ran.output);
  const std::size_t named = ran.output.find(" seen()+0x");
  REQUIRE(named != std::string::npos);
  const std::size_t at = ran.output.rfind(" +0x", named);  // the one that it called
  REQUIRE(at != std::string::npos);
  const Finished place =
      run({"addr2line", "-Cfie", build + "/own", ran.output.substr(at + 2, ran.output.find(" (own)", at) - at - 2)});
  INFO(place.output << place.errors);
  CHECK(place.output.find("hidden()") != std::string::npos);
  CHECK(place.output.find("main.cpp:") != std::string::npos);
  directory.write("CMakeLists.txt",
                  "cmake_minimum_required(VERSION 3.25)\nproject(own LANGUAGES CXX)\n"
                  "find_package(fiberd REQUIRED COMPONENTS cores)\n");
  const Finished refused =
      run(configure(directory.path(), directory.path() + "/other", {"-DCMAKE_PREFIX_PATH=" + prefix}));
  CHECK(refused.code != 0);
  CHECK(refused.errors.find("there is no component cores") != std::string::npos);
  if (component != "core") return;
  // Where only the core is, that is what is found, and the daemon is missed by name.
  directory.write("CMakeLists.txt",
                  "cmake_minimum_required(VERSION 3.25)\nproject(own LANGUAGES CXX)\nfind_package(fiberd REQUIRED)\n"
                  "if(NOT TARGET fiberd::core)\n  message(FATAL_ERROR \"no core\")\nendif()\n");
  must_run(configure(directory.path(), directory.path() + "/third", {"-DCMAKE_PREFIX_PATH=" + prefix}));
  directory.write("CMakeLists.txt",
                  "cmake_minimum_required(VERSION 3.25)\nproject(own LANGUAGES CXX)\n"
                  "find_package(fiberd REQUIRED COMPONENTS daemon)\n");
  const Finished missed =
      run(configure(directory.path(), directory.path() + "/fourth", {"-DCMAKE_PREFIX_PATH=" + prefix}));
  CHECK(missed.code != 0);
  CHECK(missed.errors.find("only the core is installed here") != std::string::npos);
}

TEST_CASE("cmake --install installs nothing where something is not built, and says what", "[integration][install]") {
  if (kSanitizedBuild) return;
  const TemporaryDirectory directory;
  const std::string build = directory.path() + "/build";
  must_run(configure(FIBERD_SOURCE_DIR, build, {"-DFIBERD_TESTS=OFF"}));
  const auto install = [&](const std::vector<std::string>& more) {
    std::vector<std::string> command{FIBERD_CMAKE, "--install", build, "--prefix", directory.path() + "/prefix"};
    command.insert(command.end(), more.begin(), more.end());
    return run(command);
  };
  const auto pretend = [&](const char* name) {
    fs::copy_file(fs::path(FIBERD_BUILD_DIR) / name, fs::path(build) / name);
  };
  Finished done = install({});
  CHECK(done.code != 0);
  for (const char* target : {"fiberd ", "fiberd_core", "llhttp", "fiberd_config", "fiberd_daemon"}) {
    INFO(target << "\n" << done.errors);
    CHECK(done.errors.find(target) != std::string::npos);
  }
  CHECK(done.errors.find("cmake --build " + build + " --target fiberd fiberd_core") != std::string::npos);
  CHECK_FALSE(fs::exists(directory.path() + "/prefix"));

  // With the core's libraries the core can be installed, and nothing else.
  pretend("libfiberd_core.a");
  pretend("libfiberd_heap_profile.a");
  pretend("libfiberd_llhttp.a");
  done = install({"--component", "development"});
  CHECK(done.code != 0);
  CHECK(done.errors.find("not built: fiberd_config fiberd_daemon") != std::string::npos);
  CHECK_FALSE(fs::exists(directory.path() + "/prefix"));
  done = install({"--component", "core"});
  INFO(done.errors);
  CHECK(done.code == 0);
  CHECK(has(files_below(directory.path() + "/prefix"), "/libfiberd_core.a"));

  // What `make run` builds is enough for all of it: no target but fiberd's own and what that is linked from.
  pretend("libfiberd_config.a");
  pretend("libfiberd_daemon.a");
  pretend("fiberd");
  done = install({});
  INFO(done.errors);
  CHECK(done.code == 0);
  const std::vector<std::string> files = files_below(directory.path() + "/prefix");
  CHECK(has(files, "bin/fiberd"));
  CHECK(has(files, "include/fiberd/daemon/daemon.hpp"));
}

TEST_CASE("fiberd is a part of another project, and is configured without Catch2", "[integration][install]") {
  if (kSanitizedBuild) return;
  const TemporaryDirectory directory;
  const std::string root = FIBERD_SOURCE_DIR;
  directory.write("CMakeLists.txt",
                  "cmake_minimum_required(VERSION 3.25)\nproject(outer LANGUAGES C CXX)\n"
                  "add_subdirectory(" +
                      root +
                      " fiberd)\n"
                      "add_library(part OBJECT " +
                      kConsumer +
                      "/main.cpp)\n"
                      "target_link_libraries(part PRIVATE fiberd::daemon)\n");
  const std::string build = directory.path() + "/build";
  // As a part it has no tests, so it does not look for Catch2 either.
  must_run(configure(directory.path(), build, {"-DCMAKE_DISABLE_FIND_PACKAGE_Catch2=ON"}));
  must_run({FIBERD_CMAKE, "--build", build, "--target", "part"});
  must_run(
      configure(root, directory.path() + "/alone", {"-DCMAKE_DISABLE_FIND_PACKAGE_Catch2=ON", "-DFIBERD_TESTS=OFF"}));
}

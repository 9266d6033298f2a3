// `cmake --install` of this build, and a program outside of the tree that finds it. The tree is moved after it was
// installed: nothing in it may know where it was made.
#include <signal.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>

#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

namespace fs = std::filesystem;

const std::string kConsumer = FIBERD_SOURCE_DIR "/tests/integration/consumer";

void must(const std::vector<std::string>& command) {
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

bool has(const std::vector<std::string>& files, std::string_view end) {
  for (const std::string& file : files)
    if (file.ends_with(end)) return true;
  return false;
}

}  // namespace

TEST_CASE("a program outside of the tree is built against what was installed, and runs", "[integration][install]") {
  const TemporaryDirectory directory;
  const std::string made = directory.path() + "/made";
  const std::string moved = directory.path() + "/moved";
  must({FIBERD_CMAKE, "--install", FIBERD_BUILD_DIR, "--prefix", made});
  fs::rename(made, moved);
  const std::vector<std::string> files = files_below(moved);
  for (const char* file : {"bin/fiberd", "/libfiberd_core.a", "/libfiberd_daemon.a", "/cmake/fiberd/fiberdConfig.cmake",
                           "include/fiberd/core/runtime/runtime.hpp", "include/fiberd/daemon/daemon.hpp",
                           "doc/fiberd/LICENSE", "doc/fiberd/examples/minimal.yaml", "doc/fiberd/docs/handlers.md"}) {
    INFO(file);
    CHECK(has(files, file));
  }
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
  must(configure(kConsumer, build, {"-DCMAKE_PREFIX_PATH=" + moved}));
  must({FIBERD_CMAKE, "--build", build});
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
  const TemporaryDirectory directory;
  const std::string prefix = directory.path() + "/prefix";
  must({FIBERD_CMAKE, "--install", FIBERD_BUILD_DIR, "--prefix", prefix, "--component", "development"});
  CHECK_FALSE(fs::exists(prefix + "/bin"));
  // A folder and a header of the program's own that are called as ours are not mixed up with them.
  fs::create_directory(directory.path() + "/core");
  fs::create_directory(directory.path() + "/config");
  directory.write("core/result.hpp", "inline int answer() { return 42; }\n");
  directory.write("config/config.hpp", "#include \"core/result.hpp\"\n");
  directory.write("main.cpp",
                  "#include <fiberd/core/runtime/runtime.hpp>\n#include \"config/config.hpp\"\n"
                  "int main() {\n"
                  "  auto runtime = fiberd::runtime::Runtime::start({.gomaxprocs = 1});\n"
                  "  int got = 0;\n"
                  "  if (runtime) (*runtime)->run([&] { got = answer(); });\n"
                  "  return got == 42 ? 0 : 1;\n"
                  "}\n");
  directory.write("CMakeLists.txt",
                  "cmake_minimum_required(VERSION 3.25)\nproject(own LANGUAGES CXX)\n"
                  "find_package(fiberd 0.1 REQUIRED COMPONENTS core)\n"
                  "if(TARGET fiberd::daemon OR TARGET yaml-cpp)\n  message(FATAL_ERROR \"more than core\")\nendif()\n"
                  "add_executable(own main.cpp)\n"
                  "target_include_directories(own PRIVATE .)\n"
                  "target_link_libraries(own PRIVATE fiberd::core)\n");
  const std::string build = directory.path() + "/build";
  must(configure(directory.path(), build, {"-DCMAKE_PREFIX_PATH=" + prefix}));
  must({FIBERD_CMAKE, "--build", build});
  CHECK(run({build + "/own"}).code == 0);
  directory.write("CMakeLists.txt",
                  "cmake_minimum_required(VERSION 3.25)\nproject(own LANGUAGES CXX)\n"
                  "find_package(fiberd REQUIRED COMPONENTS cores)\n");
  const Finished refused =
      run(configure(directory.path(), directory.path() + "/other", {"-DCMAKE_PREFIX_PATH=" + prefix}));
  CHECK(refused.code != 0);
  CHECK(refused.errors.find("there is no component cores") != std::string::npos);
}

TEST_CASE("fiberd is a part of another project, and is configured without Catch2", "[integration][install]") {
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
  must(configure(directory.path(), build, {"-DCMAKE_DISABLE_FIND_PACKAGE_Catch2=ON"}));
  must({FIBERD_CMAKE, "--build", build, "--target", "part"});
  must(configure(root, directory.path() + "/alone", {"-DCMAKE_DISABLE_FIND_PACKAGE_Catch2=ON", "-DFIBERD_TESTS=OFF"}));
}

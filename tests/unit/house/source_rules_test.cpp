#include "tests/unit/house/source_rules.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/unit/house/tree.hpp"

namespace {

namespace house = fiberd::house;

bool refused(std::string_view path, std::string_view source) { return !house::check_source(path, source).empty(); }

}  // namespace

TEST_CASE("every source keeps to the arrows and fences") {
  const std::vector<std::string> sources = house::sources_below(house::kRoot);
  REQUIRE(sources.size() > 50);  // else the root is wrong, and all would pass
  for (const std::string& path : sources) {
    for (const house::Violation& violation : house::check_source(path, house::read(house::kRoot / path))) {
      FAIL_CHECK(violation.file << ":" << violation.line << ": " << violation.what);
    }
  }
}

// What shows that such a header compiles alone; others are compiled for it by the test headers_alone.
TEST_CASE("a source that has a header of its name includes it first") {
  std::size_t seen = 0;
  for (const std::string& path : house::sources_below(house::kRoot)) {
    if (!path.ends_with(".cpp")) continue;
    const std::string header = path.substr(0, path.size() - 3) + "hpp";
    if (!std::filesystem::exists(house::kRoot / header)) continue;
    ++seen;
    const std::vector<house::Include> includes = house::includes_of(house::read(house::kRoot / path));
    INFO(path);
    CHECK((!includes.empty() && includes.front().name == header));
  }
  CHECK(seen > 50);
}

TEST_CASE("no file is longer than the house allows") {
  std::vector<std::string> files = house::sources_below(house::kRoot);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(house::kRoot / "tests")) {
    const std::string extension = entry.path().extension().string();
    if (entry.is_regular_file() && (extension == ".hpp" || extension == ".cpp")) {
      files.push_back(std::filesystem::relative(entry.path(), house::kRoot).generic_string());
    }
  }
  for (const std::string& path : files) {
    const std::string text = house::read(house::kRoot / path);
    INFO(path);
    CHECK(std::count(text.begin(), text.end(), '\n') <= house::kMaxLines);
  }
}

TEST_CASE("headers mean the same in a debug build: programs link a library of another build") {
  for (const std::string& path : house::sources_below(house::kRoot)) {
    if (!path.ends_with(".hpp")) continue;
    INFO(path);
    CHECK(house::code_only(house::read(house::kRoot / path)).find("NDEBUG") == std::string::npos);
  }
}

TEST_CASE("the top level is exactly what the house says") {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(house::kRoot)) {
    names.push_back(entry.path().filename().string());
  }
  const house::TopLevel result = house::check_top_level(names);
  CHECK(result.missing == std::vector<std::string>{});
  CHECK(result.strange == std::vector<std::string>{});
}

TEST_CASE("a planted include against an arrow is caught") {
  CHECK(refused("core/base/x.hpp", "#include \"core/metric/cells.hpp\"\n"));
  CHECK(refused("core/metric/x.cpp", "#include \"core/fiber/context.hpp\"\n"));
  CHECK(refused("core/fiber/x.cpp", "#include \"core/runtime/runtime.hpp\"\n"));
  CHECK(refused("core/observe/x.cpp", "#include \"core/net/listener.hpp\"\n"));
  CHECK(refused("core/observe/x.cpp", "#include \"core/http/server.hpp\"\n"));
  CHECK(refused("core/net/x.cpp", "#include \"core/flow/token_bucket.hpp\"\n"));
  CHECK(refused("core/http/x.cpp", "#include \"config/config.hpp\"\n"));
  CHECK(refused("core/http/x.cpp", "#include \"daemon/process.hpp\"\n"));
  CHECK(refused("config/x.cpp", "#include \"core/runtime/runtime.hpp\"\n"));
  CHECK(refused("core/http/x.cpp", "#include \"tests/support/server.hpp\"\n"));
  CHECK(refused("core/cellar/x.cpp", ""));
  // However it is written.
  CHECK(refused("core/base/x.hpp", "  #  include \t\"core/metric/cells.hpp\" // why\n"));
  CHECK(refused("core/base/x.hpp", "#if 0\n#include \"core/metric/cells.hpp\"\n#endif"));
  CHECK(refused("core/base/x.hpp", "/* a */ #include <core/base/result.hpp>\n"));
  CHECK(refused("core/base/x.hpp", "#include \"result.hpp\"\n"));
  CHECK(refused("core/base/x.hpp", "#include \"../metric/cells.hpp\"\n"));
}

TEST_CASE("the arrows are followed to their ends") {
  CHECK_FALSE(refused("core/runtime/x.cpp", "#include \"core/base/result.hpp\"\n#include \"core/metric/cells.hpp\"\n"));
  CHECK_FALSE(refused("core/http/x.cpp", "#include \"core/runtime/wait.hpp\"\n"));
  CHECK_FALSE(refused("daemon/services/x.cpp", "#include \"config/config.hpp\"\n#include \"core/base/result.hpp\"\n"));
  CHECK(house::may_include("tls", "sync"));
  CHECK(house::may_include("net", "net"));
  CHECK_FALSE(house::may_include("sync", "net"));
  CHECK_FALSE(house::may_include("config", "metric"));
}

TEST_CASE("a planted third-party header outside its room is caught") {
  CHECK(refused("core/http/x.cpp", "#include <boost/asio/buffer.hpp>\n"));
  CHECK(refused("core/runtime/x.cpp", "#include <boost/context/detail/fcontext.hpp>\n"));
  CHECK(refused("core/net/x.cpp", "#include <boost/intrusive/list.hpp>\n"));
  CHECK(refused("daemon/x.cpp", "#include <yaml-cpp/yaml.h>\n"));
  CHECK(refused("core/net/x.cpp", "#include <llhttp.h>\n"));
  CHECK(refused("core/metric/x.cpp", "#include <prometheus/collectable.h>\n"));
  CHECK(refused("core/http/x.cpp", "#include <spdlog/spdlog.h>\n"));
  CHECK(refused("config/x.cpp", "#include <CLI/CLI.hpp>\n"));
  CHECK(refused("core/runtime/x.cpp", "#include <ares.h>\n"));
  CHECK(refused("core/net/x.cpp", "#include <openssl/ssl.h>\n"));
  CHECK(refused("core/http/x.cpp", "#include <tl/expected.hpp>\n"));
  CHECK_FALSE(refused("core/net/x.cpp", "#include <boost/asio/buffer.hpp>\n#include <ares.h>\n"));
  CHECK_FALSE(refused("core/fiber/x.cpp", "#include <boost/context/detail/fcontext.hpp>\n"));
  CHECK_FALSE(refused("core/http/x.cpp", "#include <llhttp.h>\n#include <vector>\n#include <sys/socket.h>\n"));
}

TEST_CASE("a thread's own storage and mutexes are caught where fibers may park") {
  CHECK(refused("core/http/x.cpp", "static thread_local int x;\n"));
  CHECK(refused("core/net/x.cpp", "std::mutex mutex;\n"));
  CHECK(refused("daemon/x.cpp", "std::lock_guard<std::mutex> guard(m);\n"));
  CHECK(refused("core/sync/x.cpp", "std::condition_variable_any c;\n"));
  CHECK_FALSE(refused("core/runtime/x.cpp", "std::mutex mutex;\n"));
  CHECK_FALSE(refused("core/http/x.cpp", "// thread_local would be wrong here\nauto* t = thread_locals();\n"));
  CHECK_FALSE(refused("core/http/x.cpp", "log(\"std::mutex\"); /* std::mutex\n thread_local */\n"));
  CHECK_FALSE(refused("core/http/x.cpp", "auto s = R\"x(thread_local \" )x\"; int n = 1'000;\n"));
  CHECK(refused("core/http/x.cpp", "auto s = R\"x( \" )x\"; int n = 1'000; char c = '\"'; thread_local int x;\n"));
}

TEST_CASE("includes are read as a compiler reads them") {
  const auto found = house::includes_of("#include <a>\n// #include <b>\n/*\n#include <c>\n*/\n#include \"d\"\n");
  REQUIRE(found.size() == 2);
  CHECK(found[0].name == "a");
  CHECK_FALSE(found[0].quoted);
  CHECK(found[0].line == 1);
  CHECK(found[1].name == "d");
  CHECK(found[1].quoted);
  CHECK(found[1].line == 6);
}

TEST_CASE("a strange name at the top level is caught") {
  const house::TopLevel result = house::check_top_level({"core", "util", "build", ".git", "notes.txt"});
  CHECK(result.strange == std::vector<std::string>{"notes.txt", "util"});
  CHECK(std::count(result.missing.begin(), result.missing.end(), "Makefile") == 1);
  CHECK(std::count(result.missing.begin(), result.missing.end(), "core") == 0);
}

// docs/handlers.md is what a reader copies from: each snippet on it is compiled and run, and so are its YAML and CMake.
// The snippets stand in handlers_doc/ and in the programs beside it, word for word; only the indentation differs.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;

namespace {

const std::string kTests = FIBERD_SOURCE_DIR "/tests/integration/";

std::string page() { return read_file(FIBERD_SOURCE_DIR "/docs/handlers.md"); }

/// What stands between ```language and ```.
std::vector<std::string> blocks(const std::string& text, const std::string& language) {
  std::vector<std::string> found;
  const std::string fence = "```" + language + "\n";
  for (std::size_t at = text.find(fence); at != std::string::npos; at = text.find(fence, at)) {
    at += fence.size();
    const std::size_t end = text.find("```", at);
    found.push_back(text.substr(at, end - at));
    at = end + 3;
  }
  return found;
}

/// The lines without what they begin with, after a first newline.
std::string flat(const std::string& text) {
  std::string out = "\n";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::size_t begin = std::min(text.find_first_not_of(" \t", at), end);
    out += text.substr(begin, end - begin) + "\n";
    at = end + 1;
  }
  return out;
}

/// Every source that CMake compiles into this test or into a program that it runs.
std::vector<std::string> compiled() {
  std::vector<std::string> sources{flat(read_file(kTests + "consumer/main.cpp"))};
  for (const char* folder : {"handlers_doc", "programs"})
    for (const auto& entry : std::filesystem::directory_iterator(kTests + folder))
      if (entry.path().extension() == ".cpp") sources.push_back(flat(read_file(entry.path().string())));
  return sources;
}

bool stands_in(const std::vector<std::string>& sources, const std::string& block) {
  return std::any_of(sources.begin(), sources.end(),
                     [text = flat(block)](const std::string& s) { return s.find(text) != std::string::npos; });
}

}  // namespace

TEST_CASE("each snippet of docs/handlers.md and README.md is compiled", "[integration][docs]") {
  const std::vector<std::string> sources = compiled();
  const std::vector<std::string> snippets = blocks(page(), "cpp");
  for (const std::string& snippet : snippets) {
    INFO(snippet);
    CHECK(stands_in(sources, snippet));
  }
  CHECK(snippets.size() >= 8);
  const std::vector<std::string> readme = blocks(read_file(FIBERD_SOURCE_DIR "/README.md"), "cpp");
  REQUIRE(readme.size() == 1);
  CHECK(stands_in(sources, readme[0]));
  // Else nothing would be said above.
  CHECK_FALSE(stands_in(sources, "int nowhere;\n"));
  CHECK_FALSE(stands_in(sources, "x" + snippets[0]));
}

TEST_CASE("each snippet of docs/leaks.md is compiled", "[integration][docs]") {
  const std::vector<std::string> snippets = blocks(read_file(FIBERD_SOURCE_DIR "/docs/leaks.md"), "cpp");
  REQUIRE(snippets.size() == 1);
  CHECK(stands_in(compiled(), snippets[0]));
}

TEST_CASE("docs/go-to-fiberd.md: each idiom of Go has a twin, which is compiled and run", "[integration][docs]") {
  const std::string text = read_file(FIBERD_SOURCE_DIR "/docs/go-to-fiberd.md");
  const std::vector<std::string> sources{flat(read_file(kTests + "handlers_doc/from_go.cpp"))};
  const std::vector<std::string> twins = blocks(text, "cpp");
  for (const std::string& twin : twins) {
    INFO(twin);
    CHECK(stands_in(sources, twin));
  }
  CHECK(twins.size() >= 15);
  CHECK(twins.size() == blocks(text, "go").size());
  // One of Go's, then ours.
  for (std::size_t at = text.find("```go\n"); at != std::string::npos; at = text.find("```go\n", at + 1))
    CHECK(text.find("```cpp\n", at) < text.find("```go\n", at + 1));
  for (const char* idiom :
       {"wg.Go(", "chan ", "range jobs", "select {", "return ctx.Err()", "time.After(", "NewTicker(", "NewTimer(",
        "AfterFunc(", "WithTimeout(", "errgroup.", "mu.Lock()", "RLock()", "OnceValue(", "LoadOrStore(", "Acquire(",
        "rate.NewLimiter(", "loads.Do(", "recover()"}) {
    INFO(idiom);
    CHECK(text.find(idiom) != std::string::npos);
  }
}

TEST_CASE("each header that docs/handlers.md lists is there; <fiberd/core.hpp> or <fiberd/fiberd.hpp> brings it",
          "[integration][docs]") {
  const std::string text = page();
  const std::size_t begin = text.find("## Headers\n");
  REQUIRE(begin != std::string::npos);
  const std::string section = text.substr(begin, text.find("\n## ", begin) - begin);
  const std::string core = read_file(FIBERD_SOURCE_DIR "/core/http/core.hpp");
  const std::string all = core + read_file(FIBERD_SOURCE_DIR "/daemon/fiberd.hpp");
  CHECK(all.find("#include \"core/http/core.hpp\"\n") != std::string::npos);
  CHECK(core.find("daemon/") == std::string::npos);
  std::size_t listed = 0;
  for (std::size_t at = section.find("`fiberd/"); at != std::string::npos; at = section.find("`fiberd/", at + 1)) {
    const std::string header = section.substr(at + 8, section.find('`', at + 1) - at - 8);
    INFO(header);
    CHECK(std::filesystem::exists(FIBERD_SOURCE_DIR "/" + header));
    CHECK(all.find("#include \"" + header + "\"\n") != std::string::npos);
    ++listed;
  }
  CHECK(listed >= 30);
  // And the other way round: what it brings of the toolkit is listed.
  for (std::size_t at = all.find("#include \"core/sync/"); at != std::string::npos;
       at = all.find("#include \"core/sync/", at + 1)) {
    const std::string header = all.substr(at + 10, all.find('"', at + 10) - at - 10);
    INFO(header);
    if (header != "core/sync/errc.hpp") CHECK(section.find("`fiberd/" + header + "`") != std::string::npos);
  }
}

TEST_CASE("the program, its CMake and its YAML of docs/handlers.md", "[integration][docs]") {
  const std::vector<std::string> cmake = blocks(page(), "cmake");
  REQUIRE(cmake.size() == 1);
  CHECK(stands_in({flat(read_file(kTests + "consumer/CMakeLists.txt"))}, cmake[0]));
  const std::vector<std::string> yaml = blocks(page(), "yaml");
  REQUIRE(yaml.size() == 1);
  const std::string first = flat(blocks(page(), "cpp").at(0));
  CHECK(flat(read_file(kTests + "consumer/main.cpp")) == first);
  Daemon daemon(yaml[0],
                {.arguments = {"--set", "admin.address=127.0.0.1:0", "--set", "listeners[0].address=127.0.0.1:0",
                               "--set", "listeners[1].address=127.0.0.1:0"},
                 .program = FIBERD_GREETER});
  HttpClient web(daemon.port("web"));
  CHECK(web.ask(get("/greeting"))->body == "hello from a fiber\n");
  HttpClient tcp(daemon.port("shout"));
  tcp.send("hello");
  while (tcp.rest().size() < 5 && tcp.more()) {
  }
  CHECK(tcp.rest() == "HELLO");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("the program of docs/handlers.md that keeps its load within bounds", "[integration][docs]") {
  Daemon daemon(
      "admin: {address: \"127.0.0.1:0\"}\n"
      "listeners: [{name: web, address: \"127.0.0.1:0\", http: {routes: [{path: /small/*, handler: thumbnails}]}}]\n",
      {.program = FIBERD_THUMBNAILS});
  HttpClient web(daemon.port("web"));
  std::string burst;
  for (int i = 0; i < 8; ++i) burst += get("/small/cat");
  web.send(burst);
  std::size_t answered = 0;
  std::size_t refused = 0;
  std::size_t late = 0;  // on a machine that stands still for a second
  for (int i = 0; i < 8; ++i) {
    const std::optional<Answer> answer = web.receive();
    REQUIRE(answer.has_value());
    if (answer->status == 200 && answer->body == "small cat") ++answered;
    if (answer->status == 429 && answer->field("Retry-After") == "1") ++refused;
    if (answer->status == 503 && answer->field("Retry-After") == "1") ++late;
  }
  CHECK(answered + late >= 3);  // a burst of 3, and one a second
  CHECK(refused != 0);
  CHECK(answered + refused + late == 8);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("the program of README.md", "[integration][docs]") {
  Daemon daemon(
      "admin: {address: \"127.0.0.1:0\"}\n"
      "listeners: [{name: web, address: \"127.0.0.1:0\", http: {routes: [{path: /greeting, handler: greeting}]}}]\n",
      {.program = FIBERD_README});
  HttpClient web(daemon.port("web"));
  CHECK(web.ask(get("/greeting"))->body == "hello from a fiber\n");
  CHECK(daemon.stop() == 0);
}

// What programs may include is one list, deploy/cmake/public-headers.txt, by which headers are installed. Here it is
// held to the tree, to the beginners' headers, and to what documents and programs of others' kind include.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "tests/unit/house/source_rules.hpp"
#include "tests/unit/house/tree.hpp"

namespace {

namespace fs = std::filesystem;
namespace house = fiberd::house;

std::vector<std::string> listed() {
  std::vector<std::string> names;
  std::ifstream stream(house::kRoot / "deploy/cmake/public-headers.txt");
  for (std::string line; std::getline(stream, line);)
    if (!line.starts_with('#')) names.push_back(line);
  return names;
}

/// What <fiberd/…> includes of a text name, as in the tree.
std::set<std::string> included_as_installed(const std::string& text) {
  static constexpr std::string_view kOpen = "#include <fiberd/";
  std::set<std::string> names;
  for (std::size_t at = text.find(kOpen); at != std::string::npos; at = text.find(kOpen, at + 1)) {
    const std::size_t begin = at + kOpen.size();
    std::string name = text.substr(begin, text.find('>', begin) - begin);
    if (name == "core.hpp") name = "core/http/core.hpp";
    if (name == "fiberd.hpp") name = "daemon/fiberd.hpp";
    names.insert(std::move(name));
  }
  return names;
}

}  // namespace

TEST_CASE("the list of public headers is sorted, and each is there") {
  const std::vector<std::string> names = listed();
  REQUIRE(names.size() > 50);
  CHECK(std::is_sorted(names.begin(), names.end()));
  CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
  for (const std::string& name : names) {
    INFO(name);
    CHECK(fs::is_regular_file(house::kRoot / name));
    CHECK(house::room_of(name));
  }
}

TEST_CASE("what the beginners' headers include is public") {
  const std::vector<std::string> names = listed();
  for (const char* umbrella : {"core/http/core.hpp", "daemon/fiberd.hpp"})
    for (const house::Include& include : house::includes_of(house::read(house::kRoot / umbrella))) {
      INFO(umbrella << " includes " << include.name);
      CHECK(std::binary_search(names.begin(), names.end(), include.name));
    }
}

TEST_CASE("what documents and the programs of the tests include as installed is public") {
  const std::vector<std::string> names = listed();
  std::size_t seen = 0;
  const auto check = [&](const fs::path& file) {
    for (const std::string& name : included_as_installed(house::read(file))) {
      INFO(file << " includes " << name);
      CHECK(std::binary_search(names.begin(), names.end(), name));
      ++seen;
    }
  };
  check(house::kRoot / "README.md");
  for (const char* folder : {"docs", "tests/integration"})
    for (const auto& entry : fs::recursive_directory_iterator(house::kRoot / folder)) {
      const std::string extension = entry.path().extension().string();
      if (extension == ".md" || extension == ".cpp") check(entry.path());
    }
  CHECK(seen > 5);
  CHECK(included_as_installed("#include <fiberd/core.hpp>\n#include <fiberd/core/net/system_calls.hpp>") ==
        std::set<std::string>{"core/http/core.hpp", "core/net/system_calls.hpp"});
}

// The picture of `fiberd status` that README.md shows (docs/diagrams/status.txt) is of what it prints: its labels, in
// their order, and the heads of its table. Numbers are those of another day.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cctype>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/daemon.hpp"

using namespace fiberd;
using namespace fiberd::test;

namespace {

/// Of the picture's source: what stands in it, line by line, behind the command.
std::vector<std::string> status_picture() {
  std::istringstream in(read_file(FIBERD_SOURCE_DIR "/docs/diagrams/status.txt"));
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    if (line != "line" && !line.starts_with("line ")) continue;
    const std::size_t bar = line.find('|');
    lines.push_back(bar == std::string::npos ? "" : line.substr(std::min(bar + 2, line.size())));
  }
  REQUIRE_FALSE(lines.empty());
  CHECK(lines.front().starts_with("$ fiberd status"));
  lines.erase(lines.begin());
  return lines;
}

/// Up to the table of listeners: what a line begins with, or all of the table's head, gaps as one space.
std::vector<std::string> shape_of_status(const std::vector<std::string>& lines) {
  std::vector<std::string> out;
  for (const std::string& line : lines) {
    const bool head = line.starts_with("LISTENER");
    std::string label = head ? line : line.substr(0, line.find("  "));
    if (out.empty()) label = label.substr(0, label.find(' '));  // without the version
    label.erase(std::unique(label.begin(), label.end(), [](char a, char b) { return a == ' ' && b == ' '; }),
                label.end());
    out.push_back(label);
    if (head) return out;
  }
  return out;
}

}  // namespace

TEST_CASE("the picture of fiberd status is of what it prints", "[integration][commands][status][docs]") {
  Daemon daemon("listeners: [{name: web, address: \"127.0.0.1:0\", tcp: {echo: {}}}]\n");
  const Finished said = run({FIBERD_BINARY, "status", "--address", "127.0.0.1:" + std::to_string(daemon.port("admin")),
                             "--interval", "100ms"});
  REQUIRE(said.code == 0);
  std::istringstream in(said.output);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  const std::vector<std::string> shown = shape_of_status(status_picture());
  CHECK(shown == shape_of_status(lines));
  CHECK(shown.back().starts_with("LISTENER ADDRESS"));
}

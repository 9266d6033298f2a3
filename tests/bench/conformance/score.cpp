// The raw-socket suite against any server on the loopback: how many rows it passes, judged by what the RFCs allow, and
// which it fails. One line of JSON for the sums, then a line for each row that failed.
//
//   conformance_score --site DIRECTORY   fills the directory that the server shall serve
//   conformance_score PORT
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "tests/protocol/framing_cases.hpp"
#include "tests/protocol/run_case.hpp"
#include "tests/protocol/semantics_cases.hpp"

using namespace fiberd;

int main(int argc, char** argv) {
  if (argc < 2) {
    (void)std::fprintf(stderr, "usage: %s PORT\n       %s --site DIRECTORY\n", argv[0], argv[0]);
    return 2;
  }
  if (argc == 3 && std::string_view(argv[1]) == "--site") {
    protocol::make_site(argv[2]);
    return 0;
  }
  const auto port = static_cast<std::uint16_t>(std::strtoul(argv[1], nullptr, 10));
  std::vector<protocol::RawCase> rows = protocol::framing_cases();
  for (protocol::RawCase& row : protocol::semantics_cases()) rows.push_back(std::move(row));
  unsigned asked = 0;
  unsigned asked_passed = 0;
  unsigned house = 0;
  unsigned house_passed = 0;
  std::string failures;
  for (const protocol::RawCase& row : rows) {
    std::string wrong;
    try {
      wrong = protocol::run_leniently(port, row, std::chrono::seconds(6));
    } catch (const std::exception& e) {
      wrong = e.what();
    }
    ++(row.house() ? house : asked);
    if (wrong.empty()) ++(row.house() ? house_passed : asked_passed);
    if (!wrong.empty()) failures += row.rfc + "\t" + row.name + "\t" + wrong + "\n";
  }
  std::printf("{\"rfc\": %u, \"rfc_passed\": %u, \"house\": %u, \"house_passed\": %u}\n%s", asked, asked_passed, house,
              house_passed, failures.c_str());
  return 0;
}

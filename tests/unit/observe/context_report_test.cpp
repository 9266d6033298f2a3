#include "core/observe/context_report.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "core/context/context.hpp"

using namespace fiberd;
using namespace std::chrono_literals;

static std::string line_with(const std::string& text, const std::string& what) {
  const std::size_t at = text.find(what);
  if (at == std::string::npos) return {};
  const std::size_t begin = text.rfind('\n', at) + 1;
  return text.substr(begin, text.find('\n', at) - begin);
}

TEST_CASE("the report groups living contexts and forgotten ones by the place that made them", "[observe]") {
  std::vector<context::Cancelable> kept;
  const auto parent = context::with_timeout(context::background(), 1h);
  for (int i = 0; i < 4; ++i) kept.push_back(context::with_cancel(parent.context));
  const std::string here = "context_report_test.cpp:" + std::to_string(__LINE__ - 1);
  const std::string above = "context_report_test.cpp:" + std::to_string(__LINE__ - 3);
  kept[0].cancel();
  for (int i = 0; i < 2; ++i) (void)context::with_cancel(context::background());
  const std::string forgotten = "context_report_test.cpp:" + std::to_string(__LINE__ - 1);
  const std::string text = observe::render_contexts();
  INFO(text);
  CHECK(line_with(text, here + "\n").starts_with("       4        1        0 "));
  CHECK(line_with(text, above + "\n").starts_with("       1        0        3 "));
  const std::string deadline = line_with(text, above + "\n");
  CHECK((deadline.find(" 3600.000s ") != std::string::npos || deadline.find(" 3599.") != std::string::npos));
  CHECK(line_with(text, forgotten + "\n").starts_with("       2  "));
  CHECK(line_with(text, "(all)").find("(all)") != std::string::npos);
  for (auto& c : kept) c.cancel();
  parent.cancel();
}

// Pictures of stacks: what stands in them, and that nothing of what they are made of gets out.
#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/observe/flame_graph.hpp"

using namespace fiberd;
using FlameStack = std::vector<std::string_view>;

namespace {

std::size_t flames_count(const std::string& text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++n;
  return n;
}
bool flames_say(const std::string& text, const std::string& part) {
  INFO(text << "\nhas no " << part);
  const bool found = text.find(part) != std::string::npos;
  CHECK(found);
  return found;
}

}  // namespace

TEST_CASE("a flame graph has a box for each function below its callers, the widest first", "[flame_graph]") {
  observe::FlameGraph graph("cpu", "nanoseconds");
  graph.add(FlameStack{"main", "serve", "parse"}, 100'000'000);
  graph.add(FlameStack{"main", "serve", "hog"}, 600'000'000);
  graph.add(FlameStack{"main", "serve"}, 50'000'000);
  graph.add(FlameStack{"main", "poll", "hog"}, 250'000'000);
  graph.add(FlameStack{"main", "never"}, 0);
  graph.add(FlameStack{"main", "never"}, -5);
  CHECK(graph.total() == 1'000'000'000);
  const std::string page = graph.svg("abc123");
  flames_say(page, "cpu: 1.00 s<");
  flames_say(page, "most by itself: hog, 85.0 %");
  flames_say(page, "<title>serve\n750.0 ms, 75.00 %, itself 50.0 ms</title>");
  CHECK(flames_count(page, "<g class=\"f\"") == 7);  // all, main, serve, parse, hog, poll, hog
  CHECK(page.find("<title>hog") < page.find("<title>parse"));
  CHECK(page.find("never") == std::string::npos);
  flames_say(page, "<script nonce=\"abc123\">");
  flames_say(page, "<style nonce=\"abc123\">");
  CHECK(flames_count(page, "<g") == flames_count(page, "</g>"));
}

TEST_CASE("names in a flame graph stay text", "[flame_graph]") {
  observe::FlameGraph graph("</text><script>alert(1)</script>", "count");
  graph.add(FlameStack{"a\"b'<i>&\n\x01]]>", "operator<"}, 1);
  const std::string page = graph.svg("n");
  CHECK(flames_count(page, "<script") == 1);
  CHECK(page.find("<i>") == std::string::npos);
  CHECK(page.find('\x01') == std::string::npos);
  flames_say(page, "a&quot;b&#39;&lt;i&gt;&amp;\\x0a\\x01]]&gt;");
  flames_say(page, "operator&lt;");
}

TEST_CASE("a flame graph is bounded, and empty ones are pictures, too", "[flame_graph]") {
  observe::FlameGraph none("cpu", "nanoseconds");
  flames_say(none.svg("n"), "no samples");
  observe::FlameGraph many("cpu", "count");
  const std::vector<std::string_view> deep(10'000, "again");
  many.add(deep, 1'000'000);
  std::vector<std::string> names;
  for (int i = 0; i < 60'000; ++i) names.push_back("f" + std::to_string(i));
  for (const std::string& name : names) many.add(FlameStack{name}, 1);
  CHECK(many.total() == 1'060'000);
  const std::string page = many.svg("n");
  CHECK(flames_count(page, "<title>again") == observe::FlameGraph::kMostDepth);
  // Each of the others is a millionth.
  CHECK(page.find("<title>f1") == std::string::npos);
  flames_say(page, " boxes too narrow to be seen are left out");
  CHECK(page.size() < 1'000'000);
}

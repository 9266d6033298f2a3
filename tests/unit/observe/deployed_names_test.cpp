// What is deployed beside the daemon asks for metrics by name: each of them must be in the catalogue, with the labels
// that it is asked for; and each alert must be explained.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/observe/catalogue.hpp"

using namespace fiberd;

namespace {

namespace fs = std::filesystem;

std::string file(const fs::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<std::string> all_of(const std::string& text, const char* pattern) {
  const std::regex expression(pattern);
  std::vector<std::string> found;
  for (std::sregex_iterator i(text.begin(), text.end(), expression), end; i != end; ++i)
    found.push_back((*i)[i->size() > 1 ? 1 : 0]);
  return found;
}

/// The family whose sample has this name.
const observe::MetricInfo* family_of(std::string name) {
  if (const observe::MetricInfo* info = observe::find_metric(name)) return info;
  for (const std::string_view suffix : {"_bucket", "_count", "_sum", "_created"}) {
    if (!name.ends_with(suffix)) continue;
    const observe::MetricInfo* info = observe::find_metric(name.substr(0, name.size() - suffix.size()));
    if (info != nullptr && info->type == metric::Type::histogram) return info;
  }
  return nullptr;
}

/// Deployed files that name metrics: rules, and the dashboard with its generator.
std::vector<fs::path> deployed() {
  const fs::path root = FIBERD_SOURCE_DIR;
  std::vector<fs::path> files{root / "deploy/grafana/generate-dashboard",
                              root / "deploy/grafana/dashboards/fiberd.json"};
  for (const auto& entry : fs::directory_iterator(root / "deploy/prometheus/rules")) files.push_back(entry.path());
  for (const auto& entry : fs::directory_iterator(root / "tests/deploy/prometheus"))
    if (entry.path().extension() == ".yml") files.push_back(entry.path());
  return files;
}

}  // namespace

TEST_CASE("rules, their tests and the dashboard name metrics that there are", "[observe][deploy]") {
  std::set<std::string> names;
  for (const fs::path& path : deployed()) {
    // Recorded series have colons on both sides of the metric that they are made of.
    for (const std::string& name :
         all_of(file(path), "(?:^|[^a-zA-Z0-9_:/-])((?:fiberd|process)_[a-z0-9_]+)(?![a-zA-Z0-9_:])")) {
      names.insert(name);
      INFO(path.filename().string() << ": " << name);
      // A recorded name's, and a generator's that adds the suffix.
      CHECK(family_of(name) != nullptr);
    }
  }
  CHECK(names.size() > 60);
}

TEST_CASE("rules match labels that their metrics have", "[observe][deploy]") {
  static const std::set<std::string> kOfPrometheus{"job", "instance", "le", "alertname", "alertstate"};
  std::size_t matchers = 0;
  for (const fs::path& path : deployed())
    for (const std::string& selector : all_of(file(path), "([a-z0-9_]+\\{[^{}$]*\\})")) {
      const std::string name = selector.substr(0, selector.find('{'));
      const observe::MetricInfo* info = family_of(name);
      if (info == nullptr) continue;
      for (const std::string& label : all_of(selector, "[{,]\\s*([a-z_]+)\\s*(?:=|!=|=~|!~)\\\\?\"")) {
        ++matchers;
        INFO(path.filename().string() << ": " << selector << ": " << label);
        CHECK((kOfPrometheus.contains(label) || std::ranges::find(info->labels, label) != info->labels.end()));
      }
    }
  CHECK(matchers > 60);
}

TEST_CASE("each alert is explained where its runbook points", "[observe][deploy]") {
  const fs::path root = FIBERD_SOURCE_DIR;
  const std::string page = file(root / "docs/operations.md");
  const std::string rules = file(root / "deploy/prometheus/rules/alerts.yml");
  std::set<std::string> alerts;
  for (const std::string& alert : all_of(rules, "- alert: (\\w+)")) {
    alerts.insert(alert);
    INFO(alert);
    std::string anchor = alert;
    std::ranges::transform(anchor, anchor.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    CHECK(rules.find("runbook: docs/operations.md#" + anchor + "\n") != std::string::npos);
    const std::size_t at = page.find("\n### " + alert + "\n\n");
    REQUIRE(at != std::string::npos);
    // Some sentences, and which kind it is.
    const std::string text = page.substr(at + 1, page.find("\n#", at + 1) - at - 1);
    CHECK(text.size() > 150);
    CHECK((text.find("`page`") != std::string::npos || text.find("`ticket`") != std::string::npos));
  }
  CHECK(alerts.size() >= 20);
  // And nothing is explained that is no alert any more.
  for (const std::string& heading : all_of(page, "\n### (Fiberd\\w+)\n")) {
    INFO(heading);
    CHECK(alerts.contains(heading));
  }
}

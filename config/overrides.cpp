#include "config/overrides.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "config/schema.hpp"

namespace fiberd::config {

namespace {

/// One step of a --set path: a key or an index.
struct Step {
  std::string key;
  std::size_t index = 0;
  bool is_index = false;
};

bool parse_path(std::string_view text, std::vector<Step>& steps) {
  while (!text.empty()) {
    if (text.front() == '[') {
      const std::size_t close = text.find(']');
      if (close == std::string_view::npos || steps.empty()) return false;
      Step step{.key = {}, .index = 0, .is_index = true};
      const auto [end, error] = std::from_chars(text.data() + 1, text.data() + close, step.index);
      if (error != std::errc{} || end != text.data() + close) return false;
      steps.push_back(step);
      text.remove_prefix(close + 1);
      if (!text.empty() && text.front() == '.') text.remove_prefix(1);
    } else {
      const std::size_t end = std::min(text.find_first_of(".["), text.size());
      if (end == 0) return false;
      steps.push_back({.key = std::string(text.substr(0, end))});
      text.remove_prefix(end);
      if (!text.empty() && text.front() == '.') text.remove_prefix(1);
    }
  }
  return !steps.empty() && steps.size() <= kMaxDepth;
}

/// Whether the key that the steps lead to holds text: a string, or one of a list or of a mapping of strings.
bool is_text(const std::vector<Step>& steps) {
  std::string path;
  for (const Step& step : steps) {
    const Row* const above = find_row(path);
    if (above != nullptr && (above->type == Type::strings || above->type == Type::texts || above->type == Type::pairs))
      return true;
    path += step.is_index ? "[]" : (path.empty() ? "" : ".") + step.key;
  }
  const Row* const row = find_row(path);
  return row != nullptr && (row->type == Type::string || row->type == Type::texts);
}

}  // namespace

void apply_override(Tree& root, const std::string& text, std::vector<Diagnostic>& diagnostics) {
  auto report = [&](std::string message) {
    diagnostics.push_back({"--set", 0, 0, text.substr(0, text.find('=')), std::move(message)});
  };
  const std::size_t equals = text.find('=');
  std::vector<Step> steps;
  if (equals == std::string::npos || !parse_path(std::string_view(text).substr(0, equals), steps)) {
    report("must be key=value, e.g. runtime.gomaxprocs=2 or listeners[0].address=127.0.0.1:8081");
    return;
  }
  std::vector<Diagnostic> own;
  Tree value = parse_yaml(text.substr(equals + 1), "--set", own);
  // Where text is wanted, what is no YAML is text: [::1]:9090 and *.example.org need no second quotes.
  if (!own.empty() && is_text(steps)) {
    std::string quoted = "'";
    for (const char c : text.substr(equals + 1)) quoted.append(c == '\'' ? 2 : 1, c);
    own.clear();
    value = parse_yaml(quoted + "'", "--set", own);
  }
  if (!own.empty()) {
    report(own.front().message);
    return;
  }
  if (text.size() == equals + 1) {  // key= : the empty string
    value.kind = Tree::Kind::scalar;
    value.entries.clear();
  }
  Tree* at = &root;
  for (const Step& step : steps) {
    if (step.is_index) {
      if (at->kind == Tree::Kind::null) at->kind = Tree::Kind::sequence;
      if (at->kind != Tree::Kind::sequence || step.index > at->items.size()) {
        report("there is no item [" + std::to_string(step.index) + "]; the list has " +
               std::to_string(at->kind == Tree::Kind::sequence ? at->items.size() : 0));
        return;
      }
      if (step.index == at->items.size()) at->items.emplace_back().source = "--set";
      at = &at->items[step.index];
      continue;
    }
    if (at->kind == Tree::Kind::null) at->kind = Tree::Kind::mapping;
    if (at->kind != Tree::Kind::mapping) {
      report(step.key + " is inside something that has no keys");
      return;
    }
    Tree* next = at->find(step.key);
    if (next == nullptr) {
      at->entries.push_back({step.key, 0, 0, {}});
      next = &at->entries.back().value;
      next->source = "--set";
    }
    at = next;
  }
  *at = std::move(value);
  at->line = at->column = 0;
}

}  // namespace fiberd::config

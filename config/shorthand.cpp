#include "config/shorthand.hpp"

#include <string>
#include <utility>

#include "config/schema.hpp"

namespace fiberd::config {

static void spell_out(Tree& tree, const std::string& pattern) {
  for (Tree& item : tree.items) spell_out(item, pattern + "[]");
  for (Tree::Entry& e : tree.entries) {
    const std::string path = pattern.empty() ? e.key : pattern + "." + e.key;
    const Row* const row = find_row(path);
    if (row == nullptr) continue;
    if (!row->shorthand.empty() && e.value.kind == Tree::Kind::scalar) {
      Tree text = std::move(e.value);
      e.value = {};
      e.value.kind = Tree::Kind::mapping;
      e.value.source = text.source;
      e.value.line = text.line;
      e.value.column = text.column;
      e.value.entries.push_back({std::string(row->shorthand), text.line, text.column, std::move(text)});
    }
    spell_out(e.value, path);
  }
}

void spell_out(Tree& tree) { spell_out(tree, ""); }

}  // namespace fiberd::config

#include "config/tree.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>
#include <unordered_map>

namespace fiberd::config {

const Tree* Tree::find(std::string_view key) const noexcept {
  const auto it = std::find_if(entries.begin(), entries.end(), [&](const Entry& e) { return e.key == key; });
  return it == entries.end() ? nullptr : &it->value;
}
Tree* Tree::find(std::string_view key) noexcept { return const_cast<Tree*>(std::as_const(*this).find(key)); }

namespace {

/// Thrown out of the parser to end it; the reason is in the diagnostics already.
struct Stop {};

class Builder final : public YAML::EventHandler {
 public:
  Builder(std::string source, std::vector<Diagnostic>& diagnostics)
      : source_(std::move(source)), diagnostics_(diagnostics) {}

  Tree root;

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { add(mark, anchor, Tree::Kind::null); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    refuse(mark, "aliases (*name) are not allowed: write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    if (!open_.empty() && open_.back()->kind == Tree::Kind::mapping && !have_key_.back()) {
      key(mark, value);
      return;
    }
    const bool quoted = tag == "!";
    Tree& node =
        add(mark, anchor, !quoted && (value == "~" || value == "null") ? Tree::Kind::null : Tree::Kind::scalar);
    node.quoted = quoted;
    node.scalar = value;
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    descend(add(mark, anchor, Tree::Kind::sequence), mark);
  }
  void OnSequenceEnd() override { ascend(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    descend(add(mark, anchor, Tree::Kind::mapping), mark);
  }
  void OnMapEnd() override { ascend(); }

 private:
  [[noreturn]] void refuse(const YAML::Mark& mark, std::string message) {
    report(mark, std::move(message));
    throw Stop{};
  }
  void report(const YAML::Mark& mark, std::string message) {
    diagnostics_.push_back({source_, static_cast<unsigned>(mark.line + 1), static_cast<unsigned>(mark.column + 1), "",
                            std::move(message)});
  }
  void key(const YAML::Mark& mark, const std::string& name) {
    Tree& map = *open_.back();
    const auto [first, fresh] = keys_.back().emplace(name, mark.line + 1);
    if (!fresh) report(mark, "duplicate key " + name + ", first given in line " + std::to_string(first->second));
    map.entries.push_back({name, static_cast<unsigned>(mark.line + 1), static_cast<unsigned>(mark.column + 1), {}});
    have_key_.back() = true;
  }
  Tree& add(const YAML::Mark& mark, YAML::anchor_t anchor, Tree::Kind kind) {
    if (anchor != 0) refuse(mark, "anchors (&name) are not allowed: write the value out");
    if (++nodes_ > kMaxNodes) refuse(mark, "more than " + std::to_string(kMaxNodes) + " values");
    Tree* node = &root;
    if (!open_.empty()) {
      Tree& parent = *open_.back();
      if (parent.kind == Tree::Kind::mapping) {
        if (!have_key_.back()) refuse(mark, "a key must be a plain name");
        have_key_.back() = false;
        node = &parent.entries.back().value;
      } else {
        node = &parent.items.emplace_back();
      }
    }
    node->kind = kind;
    node->source = source_;
    node->line = static_cast<unsigned>(mark.line + 1);
    node->column = static_cast<unsigned>(mark.column + 1);
    return *node;
  }
  void descend(Tree& node, const YAML::Mark& mark) {
    if (open_.size() >= kMaxDepth) refuse(mark, "nested deeper than " + std::to_string(kMaxDepth) + " levels");
    // Pointers into vectors: only the innermost open node grows, and its ancestors' elements do not move meanwhile.
    open_.push_back(&node);
    have_key_.push_back(false);
    keys_.emplace_back();
  }
  void ascend() {
    open_.pop_back();
    have_key_.pop_back();
    keys_.pop_back();
  }

  std::string source_;
  std::vector<Diagnostic>& diagnostics_;
  std::vector<Tree*> open_;
  std::vector<bool> have_key_;
  std::vector<std::unordered_map<std::string, int>> keys_;  // of each open mapping: where it was given
  std::size_t nodes_ = 0;
};

/// Position of the first byte that is no UTF-8, or npos.
std::size_t find_invalid_utf8(const std::string& text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t more = lead < 0x80                   ? 0
                             : lead >= 0xc2 && lead < 0xe0 ? 1
                             : lead >= 0xe0 && lead < 0xf0 ? 2
                             : lead >= 0xf0 && lead < 0xf5 ? 3
                                                           : 4;
    if (more == 4 || i + more >= text.size() + (more == 0 ? 1 : 0)) return i;
    for (std::size_t k = 1; k <= more; ++k)
      if ((static_cast<unsigned char>(text[i + k]) & 0xc0U) != 0x80U) return i;
    i += more + 1;
  }
  return std::string::npos;
}

/// The parser tells what it wanted where it gave up; what made it want that stands before.
std::string remedy_of(const std::string& message) {
  return message.starts_with("end of ") || message.starts_with("illegal ")
             ? "; look here and above for a line that is indented otherwise than its neighbours, and for a bracket or "
               "quote that is not closed"
             : "";
}

}  // namespace

Tree parse_yaml(const std::string& text, const std::string& source, std::vector<Diagnostic>& diagnostics) {
  Tree empty;
  empty.kind = Tree::Kind::mapping;
  empty.source = source;
  empty.line = empty.column = 1;
  if (text.size() > kMaxFile) {
    diagnostics.push_back({source, 0, 0, "", "larger than " + std::to_string(kMaxFile / 1024) + " KiB"});
    return empty;
  }
  const std::size_t bad = find_invalid_utf8(text);
  const std::size_t nul = text.find('\0');
  if (const std::size_t at = std::min(bad, nul); at != std::string::npos) {
    const auto line =
        static_cast<unsigned>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
    const std::size_t begin = at == 0 ? std::string::npos : text.rfind('\n', at - 1);
    diagnostics.push_back({source, line + 1,
                           static_cast<unsigned>(at - (begin == std::string::npos ? 0 : begin + 1) + 1), "",
                           "a byte that is not UTF-8 text"});
    return empty;
  }
  Builder builder(source, diagnostics);
  try {
    std::istringstream in(text);
    YAML::Parser parser(in);
    if (!parser.HandleNextDocument(builder)) return empty;
    Builder rest(source, diagnostics);
    if (parser.HandleNextDocument(rest) && rest.root.kind != Tree::Kind::null)
      diagnostics.push_back({source, rest.root.line, rest.root.column, "", "a second document; only one is allowed"});
  } catch (const Stop&) {
    return empty;
  } catch (const YAML::Exception& e) {
    diagnostics.push_back({source, static_cast<unsigned>(e.mark.line + 1), static_cast<unsigned>(e.mark.column + 1), "",
                           "not valid YAML: " + e.msg + remedy_of(e.msg)});
    return empty;
  }
  if (builder.root.kind == Tree::Kind::null) return empty;
  return std::move(builder.root);
}

}  // namespace fiberd::config

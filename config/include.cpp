#include "config/include.hpp"

#include <glob.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <system_error>
#include <utility>

#include "config/reader.hpp"
#include "core/base/hash.hpp"
#include "core/base/read_file.hpp"

namespace fiberd::config {

namespace {

using FileIdentity = std::pair<dev_t, ino_t>;

std::string message_of(int error) { return std::error_code(error, std::system_category()).message(); }

std::string directory_of(const std::string& file) {
  const std::size_t slash = file.rfind('/');
  return slash == std::string::npos ? std::string() : file.substr(0, slash + 1);
}

/// A directory's name in front of a pattern: its characters stand for themselves.
std::string quoted(const std::string& directory) {
  std::string out;
  for (const char c : directory) {
    if (std::string_view("*?[\\").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

/// glob(3) asks whether to give up: not where a folder is not there.
int is_serious(const char*, int error) { return error != ENOENT && error != ENOTDIR ? 1 : 0; }

class Includer {
 public:
  Includer(Tree& root, std::vector<Diagnostic>& diagnostics, Config& read)
      : root_(root), diagnostics_(diagnostics), read_(read) {
    files_.push_back(root.source);
    struct stat status {};
    if (::stat(root.source.c_str(), &status) == 0)
      seen_.emplace(FileIdentity{status.st_dev, status.st_ino}, root.source);
  }

  /// What `tree`, of `file`, includes. Recursion is bounded by kMaxIncludeDepth.
  void include(const Tree& tree, const std::string& file, std::size_t depth) {
    if (tree.kind != Tree::Kind::mapping || tree.find("include") == nullptr) return;
    // A reader of this key alone: the others are looked at when all is there.
    Tree alone;
    alone.kind = Tree::Kind::mapping;
    alone.source = file;
    alone.entries.push_back({"include", 0, 0, *tree.find("include")});
    std::vector<Diagnostic> own;
    const PlacedTexts patterns = Reader(&alone, nullptr, "", "", own).placed("include");
    // Those of the first file are told by who reads all of it.
    if (depth > 0) diagnostics_.insert(diagnostics_.end(), own.begin(), own.end());
    if (!own.empty()) return;
    for (std::size_t i = 0; i < patterns.texts.size(); ++i) take(patterns.texts[i], patterns.at[i], file, depth);
  }

  std::vector<std::string> files() { return std::move(files_); }

 private:
  void report(const Place& at, std::string message) {
    add_to_digest(read_.digest, {}, message);
    diagnostics_.push_back(diagnostic_at(at, std::move(message)));
  }

  void take(const std::string& pattern, const Place& at, const std::string& from, std::size_t depth) {
    if (pattern.empty()) return report(at, "is empty; the name of a file, or a pattern like conf.d/*.yaml");
    if (pattern.find('\0') != std::string::npos) return report(at, "control characters are not allowed in a path");
    if (depth == kMaxIncludeDepth)
      return report(at, "files include each other deeper than " + std::to_string(kMaxIncludeDepth) + " levels");
    const std::string directory = pattern.front() == '/' ? std::string() : directory_of(from);
    read_.patterns.emplace_back(directory, pattern);
    if (pattern.find_first_of("*?[") == std::string::npos) return read(directory + pattern, at, from, depth);
    glob_t found{};
    const int error = ::glob((quoted(directory) + pattern).c_str(), GLOB_NOSORT, &is_serious, &found);
    std::vector<std::string> names(found.gl_pathv, found.gl_pathv + found.gl_pathc);
    ::globfree(&found);
    if (error != 0 && error != GLOB_NOMATCH)
      return report(at, "\"" + pattern + "\" cannot be looked up: " + message_of(errno != 0 ? errno : EIO));
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) read(name, at, from, depth);
  }

  void read(const std::string& name, const Place& at, const std::string& from, std::size_t depth) {
    struct stat status {};
    if (::stat(name.c_str(), &status) != 0)
      return report(at, "\"" + name + "\" cannot be included: " + message_of(errno));
    if (S_ISDIR(status.st_mode))
      return report(at, "\"" + name + "\" is a directory; write " + name + (name.ends_with('/') ? "" : "/") + "*.yaml");
    if (!S_ISREG(status.st_mode)) return report(at, "\"" + name + "\" is no file");
    const auto [first, fresh] = seen_.emplace(FileIdentity{status.st_dev, status.st_ino}, from);
    if (!fresh) {
      const bool open = std::find(open_.begin(), open_.end(), first->first) != open_.end() || first->second == name;
      return report(at, "\"" + name + "\" is included already" +
                            (open || name == files_.front() ? ": it would include itself" : ", by " + first->second));
    }
    if (files_.size() > kMaxIncluded)
      return report(at, "more than " + std::to_string(kMaxIncluded) + " files are included");
    const Result<std::string> text = read_file(name, kMaxFile + 1);
    if (!text) return report(at, "\"" + name + "\" cannot be read: " + why_unreadable(text.error()));
    add_to_digest(read_.digest, name, *text);
    files_.push_back(name);
    open_.push_back(first->first);
    Tree tree = parse_yaml(*text, name, diagnostics_);
    add(tree);
    include(tree, name, depth + 1);
    open_.pop_back();
  }

  void add(Tree& tree) {
    if (tree.kind != Tree::Kind::mapping) {
      diagnostics_.push_back({tree.source, tree.line, tree.column, "", "must be a mapping of keys"});
      return;
    }
    for (Tree::Entry& entry : tree.entries) {
      if (entry.key == "include") continue;
      if (entry.key != "listeners") {
        const std::string near = find_row(entry.key) == nullptr ? nearest(entry.key, {"listeners", "include"}) : "";
        diagnostics_.push_back(
            {tree.source, entry.line, entry.column, entry.key,
             find_row(entry.key) != nullptr
                 ? "stands in the first file only: included ones have listeners and include"
                 : "unknown key; " + (near.empty() ? std::string("included files have listeners and include")
                                                   : "did you mean " + near + "?")});
        continue;
      }
      if (entry.value.kind == Tree::Kind::null) continue;
      if (entry.value.kind != Tree::Kind::sequence) {
        diagnostics_.push_back({tree.source, entry.value.line, entry.value.column, entry.key, "must be a list"});
        continue;
      }
      Tree* all = root_.find("listeners");
      if (all == nullptr) {
        root_.entries.push_back({"listeners", entry.line, entry.column, {}});
        all = &root_.entries.back().value;
      }
      if (all->kind == Tree::Kind::null) {
        all->kind = Tree::Kind::sequence;
        all->source = tree.source;
        all->line = entry.line;
        all->column = entry.column;
      }
      if (all->kind != Tree::Kind::sequence) continue;  // told by who reads it
      for (Tree& item : entry.value.items) all->items.push_back(std::move(item));
    }
  }

  Tree& root_;
  std::vector<Diagnostic>& diagnostics_;
  Config& read_;
  std::vector<std::string> files_;
  std::map<FileIdentity, std::string> seen_;  // and who included it
  std::vector<FileIdentity> open_;            // that are being read: each includes the next
};

}  // namespace

void add_to_digest(std::uint64_t& digest, std::string_view name, std::string_view text) noexcept {
  digest = hash_bytes(name.data(), name.size(), hash_bytes(text.data(), text.size(), digest));
}

void include_files(Tree& tree, std::vector<Diagnostic>& diagnostics, Config& read) {
  Includer includer(tree, diagnostics, read);
  // A copy: the tree grows while it is gone through.
  Tree first;
  first.kind = tree.kind;
  if (const Tree* const patterns = tree.find("include"); patterns != nullptr)
    first.entries.push_back({"include", 0, 0, *patterns});
  includer.include(first, tree.source, 0);
  read.files = includer.files();
}

}  // namespace fiberd::config

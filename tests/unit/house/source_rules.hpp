#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// The rules of the house, as a checker of source text: which room may include which, where third-party headers may
// stand, where threads' own storage and the standard mutex may stand, and how long a file may be.
//
// The arrows are docs/architecture.md's. A room may include itself, the rooms it points at, and theirs. The table holds
// the direct arrows; the checker follows them. Includes are read as text, not by a compiler: what stands behind an #if
// is held to the rules too, which is what a reader expects of a room.
namespace fiberd::house {

struct Include {
  std::string name;  ///< as written, without its quotes
  bool quoted;       ///< "name" and not <name>
  int line;
};

struct Violation {
  std::string file;
  int line;
  std::string what;
};

/// Whether a name may hold it.
[[nodiscard]] bool is_word(char c);

/// The code of a source file: comments, string and character literals blanked out, lines kept. Include directives keep
/// their names. Raw strings end at their own delimiter.
[[nodiscard]] std::string code_only(std::string_view source);

/// Every #include, in order, those in comments left out.
[[nodiscard]] std::vector<Include> includes_of(std::string_view source);

/// The room of a root-relative path: "core/net/listener.hpp" is in "net", "config/…" in "config", "daemon/…" in
/// "daemon". Nothing for any other path, so a folder that the table does not know is a violation.
[[nodiscard]] std::optional<std::string> room_of(std::string_view path);

/// Whether a file of `from` may include one of `to`; a room includes itself. False when either is not in the table.
[[nodiscard]] bool may_include(std::string_view from, std::string_view to);

/// Holds one file against every rule but its length. `path` is root-relative, with '/'.
[[nodiscard]] std::vector<Violation> check_source(std::string_view path, std::string_view source);

/// Above this a file is refused; above 500 it wants splitting, which is for a reviewer to say.
inline constexpr int kMaxLines = 600;

/// All sources and headers below `root`'s core, config and daemon, root-relative and sorted.
[[nodiscard]] std::vector<std::string> sources_below(const std::filesystem::path& root);

/// What the top level must hold, and what it may not: names that are missing, and names that nobody allowed. What git
/// ignores there (build trees, the compile database) and git's own folder are not seen. Both sorted.
struct TopLevel {
  std::vector<std::string> missing;
  std::vector<std::string> strange;
};
[[nodiscard]] TopLevel check_top_level(const std::vector<std::string>& names);

}  // namespace fiberd::house

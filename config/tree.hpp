#pragma once
// Tree: a YAML document with the place of every node. Read from yaml-cpp's events, not its nodes: nodes forget
// duplicate keys and expand aliases, and they are built before anybody could say that the document is too deep.
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "config/config.hpp"

namespace fiberd::config {

struct Tree {
  enum class Kind : unsigned char { null, scalar, mapping, sequence };
  struct Entry;

  Kind kind = Kind::null;
  bool quoted = false;  ///< of a scalar
  std::string scalar;
  std::string source;
  unsigned line = 0;  ///< from 1
  unsigned column = 0;
  std::vector<Entry> entries;  ///< of a mapping, in order
  std::vector<Tree> items;     ///< of a sequence

  [[nodiscard]] const Tree* find(std::string_view key) const noexcept;
  [[nodiscard]] Tree* find(std::string_view key) noexcept;
};

struct Tree::Entry {
  std::string key;
  unsigned line = 0;
  unsigned column = 0;
  Tree value;
};

inline constexpr std::size_t kMaxDepth = 32;
inline constexpr std::size_t kMaxNodes = 100'000;
inline constexpr std::size_t kMaxFile = 1024 * 1024;

/// Parses one document. What is wrong is added to `diagnostics`; then the tree is unusable. An empty document is an
/// empty mapping. Refused: more than one document, aliases, deeper than kMaxDepth, more than kMaxNodes nodes, keys that
/// are not plain, duplicate keys, invalid UTF-8.
[[nodiscard]] Tree parse_yaml(const std::string& text, const std::string& source, std::vector<Diagnostic>& diagnostics);

}  // namespace fiberd::config

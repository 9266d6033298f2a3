#pragma once
// Reader: one mapping of the tree, read by the schema. Every value is taken through it, so that what is not in the
// table cannot be read, and each default has one place.
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/schema.hpp"
#include "config/tree.hpp"

namespace fiberd::config {

class Reader {
 public:
  /// `pattern` is the schema's path ("listeners[].http"), `path` the real one ("listeners[0].http"). `node` may be
  /// nullptr: all defaults. Reports unknown, unavailable and misplaced keys at once.
  /// `place` is where to look for what a node that is not there lacks; the node itself when it is.
  Reader(const Tree* node, const Tree* place, std::string pattern, std::string path,
         std::vector<Diagnostic>& diagnostics);

  /// Whether it was written. A section may be empty (`echo:`); a value that is empty was left out.
  [[nodiscard]] bool has(std::string_view key) const;
  [[nodiscard]] Reader section(std::string_view key) const;
  /// Calls `each` for every item of a list of sections; how many there are, those that are none included.
  std::size_t list(std::string_view key, const std::function<void(Reader&)>& each) const;

  [[nodiscard]] std::uint64_t number(std::string_view key) const;  ///< integer, bytes, octal; auto is 0
  [[nodiscard]] std::uint64_t rate(std::string_view key) const;    ///< an hour
  [[nodiscard]] std::chrono::nanoseconds duration(std::string_view key) const;
  [[nodiscard]] bool boolean(std::string_view key) const;
  [[nodiscard]] std::string text(std::string_view key) const;
  /// Index into the row's choices.
  [[nodiscard]] unsigned choice(std::string_view key) const;
  [[nodiscard]] std::vector<std::string> strings(std::string_view key) const;
  /// strings() with their places.
  [[nodiscard]] PlacedTexts placed(std::string_view key) const;
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> pairs(std::string_view key) const;

  /// The keys that were written, in their order.
  [[nodiscard]] std::vector<std::string> keys() const;
  /// Where `key` was written, or the mapping itself when it is empty or absent.
  [[nodiscard]] Place place(std::string_view key) const;
  /// Where the index-th of strings() or pairs() stands.
  [[nodiscard]] Place place(std::string_view key, std::size_t index) const;
  /// Reports at `key`, or at the mapping itself when `key` is empty or absent.
  void report(std::string_view key, std::string message) const;
  void report(std::string_view key, std::size_t index, std::string message) const;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  [[nodiscard]] const Row& row(std::string_view key) const;
  [[nodiscard]] const Tree* node(std::string_view key) const noexcept;
  [[nodiscard]] std::optional<std::string> scalar(std::string_view key, const Row& row) const;
  void check_keys() const;
  /// The text of a scalar with the environment's variables.
  [[nodiscard]] std::string expanded(const Row& row, const Tree& scalar, const Place& at) const;

  const Tree* node_;
  const Tree* place_;
  std::string pattern_;
  std::string path_;
  std::vector<Diagnostic>& diagnostics_;
};

/// Of `names`, the one nearest to `name` by edit distance, if it is near enough to be meant; else empty.
[[nodiscard]] std::string nearest(std::string_view name, const std::vector<std::string>& names);

}  // namespace fiberd::config

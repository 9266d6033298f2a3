#pragma once
// The schema: one table of every key. It drives parsing, defaults and validation, `fiberd config schema` and
// docs/configuration.md; a key that is not in it does not exist.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace fiberd::config {

enum class Type : std::uint8_t {
  section,  ///< a mapping with keys of its own
  list,     ///< a sequence of sections
  integer,  ///< least … most
  auto_integer,
  bytes,  ///< "16KiB"; least … most bytes
  auto_bytes,
  rate,      ///< "100/s", "5/m", "1/h"; least … most an hour
  duration,  ///< "10s"; least … most nanoseconds
  boolean,
  string,
  choice,   ///< one of `choices`
  octal,    ///< file mode, "0660"
  strings,  ///< a list of strings
  texts,    ///< a string, or a list of strings
  pairs     ///< a mapping of strings to strings
};
[[nodiscard]] std::string_view to_string(Type type) noexcept;

struct Row {
  std::string_view path;  ///< listeners[].http.timeouts.header
  Type type;
  std::string_view fallback;  ///< the default as it would be written; empty: none (or a section)
  std::uint64_t least = 0;
  std::uint64_t most = 0;
  std::string_view choices = {};  ///< "a|b|c"
  std::string_view help = {};
  bool reloadable = true;  ///< a reload can change it
  bool available = true;   ///< false: known, refused in this version, and all below it
  /// The value is a template of request variables (core/base/variable_names.hpp).
  bool variables = false;
  std::string_view later = {};      ///< of `choices` those that are refused in this version
  std::string_view shorthand = {};  ///< of a section: a text in its place is this key of it
};

[[nodiscard]] std::span<const Row> schema() noexcept;
/// Whether it can be set in this version: it and what it stands in are available.
[[nodiscard]] bool is_available(const Row& row) noexcept;
/// nullptr when there is no such key. Sequence indices are written "[]".
[[nodiscard]] const Row* find_row(std::string_view path) noexcept;

/// What may be set, as text: "1 … 1024", "auto, on, off"; empty: anything of its type.
[[nodiscard]] std::string allowed_by(const Row& row);

/// docs/configuration.md.
[[nodiscard]] std::string render_schema_markdown();
/// One YAML mapping a key: type, default, range, help.
[[nodiscard]] std::string render_schema_yaml();

}  // namespace fiberd::config

#pragma once
// Templates for requests: texts with variables, `https://${host}/new/${rest}${query}`, for redirects, fields, bodies
// and access logs. How they are written, and which names there are: core/base/variable_names.hpp. This is how they are
// rendered.
//
// Read once, when the configuration is; written for each request by going over the parts. A template without variables
// is one part, and constant() says so.
//
// Where values go they must not become syntax. How is said by Form at each rendering:
//  - location: bytes that are not a URI's are percent-encoded; of a path also '?', '#' and '%', for paths are decoded
//    here; what a client may choose freely (fields) is encoded as one component, so that it adds no segment, query or
//    host.
//  - field: what may not stand in a field's value (CR, LF, NUL, other controls) is percent-encoded.
//  - text: as it is. html, json: escaped for text and quoted attributes, for the inside of a string.
//  - log: as nginx writes its logs: '"', '\' and everything but printable ASCII as \xNN.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "core/base/variable_names.hpp"

namespace fiberd::http {

using Variable = RequestVariable;

enum class Form : std::uint8_t { location, field, text, html, json, script, log };
/// html for text/html and XML, json for JSON's types, script for JavaScript's, else text.
[[nodiscard]] Form form_for(std::string_view content_type) noexcept;

/// Who knows the values.
class VariableSource {
 public:
  /// The view holds until the next call. `argument` is what stands behind the dot: a field's name as written.
  [[nodiscard]] virtual std::string_view value(std::uint8_t id, std::string_view argument) = 0;

 protected:
  ~VariableSource() = default;
};

/// Immutable once made: any number of threads may render at once.
class Template {
 public:
  /// Nothing.
  Template() noexcept = default;
  /// Error invalid_argument; `why`, if given, becomes a sentence for whoever wrote the template. Throws std::bad_alloc.
  [[nodiscard]] static Result<Template> parse(std::string_view text, std::string* why = nullptr,
                                              std::span<const VariableName> names = request_variables());

  /// Appends to `out`. Error message_size: out would be longer than `most`; it holds a part then. Throws std::bad_alloc
  /// and what the source throws.
  [[nodiscard]] Result<void> render(VariableSource& source, Form form, std::string& out,
                                    std::size_t most = kMaxTemplate) const;

  [[nodiscard]] bool constant() const noexcept { return variables_ == 0; }
  [[nodiscard]] bool uses(Variable variable) const noexcept { return uses(static_cast<std::uint8_t>(variable)); }
  [[nodiscard]] bool uses(std::uint8_t id) const noexcept;
  [[nodiscard]] bool empty() const noexcept { return parts_.empty(); }

 private:
  friend Result<void> check_location(const Template& location, std::string* why);
  std::vector<TemplatePart> parts_;
  std::size_t variables_ = 0;
};

/// For templates that become a Location: fiberd::check_location(). Error invalid_argument, and `why`.
[[nodiscard]] Result<void> check_location(const Template& location, std::string* why = nullptr);

}  // namespace fiberd::http

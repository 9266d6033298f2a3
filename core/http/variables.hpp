#pragma once
// Templates: texts with variables, `https://${host}/new/${rest}${query}`, for redirects, fields, bodies and access
// logs.
//
// Read once, when the configuration is; written for each request by going over its parts. A template without variables
// is one part, and constant() says so.
//
// Writing them
//  - `${name}` is a variable; which names there are is said by who reads the template (request_variables() for
//  requests).
//  - `$$` is a dollar sign. So is a `$` before anything but '{', a letter or '_': "5 $" and "$5" are what they look
//  like.
//    (In a URI `%24` is one too, as everywhere.)
//  - `$name` is refused with the spelling that is meant: whoever comes from nginx writes it, and as text it would be
//  sent
//    to everybody. So is an unknown name, with the nearest one that there is.
//  - `${NAME}` in upper case is the environment's, replaced where the file is read; one that is left here is refused.
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

namespace fiberd::http {

/// The variables of a request.
enum class Variable : std::uint8_t {
  host,        ///< as the client sent it, without its port: "a.example", "[::1]"
  path,        ///< the normal form, decoded (path.hpp)
  rest,        ///< of a prefix route: what is below it, without a leading slash
  query,       ///< as sent, with its '?'; empty without one
  method,      ///< "GET"
  scheme,      ///< "http", "https"
  client,      ///< the client's address without its port, behind trusted proxies the real one
  request_id,  ///< empty where no filter gave one
  header       ///< header.NAME: the request's first field of that name; empty without one
};

/// A name that templates of one kind know. One that ends in '.' takes a field name behind it: "header.".
struct VariableName {
  std::string_view name;
  std::uint8_t id;
};
/// Of Variable, in its order.
[[nodiscard]] std::span<const VariableName> request_variables() noexcept;

enum class Form : std::uint8_t { location, field, text, html, json, log };
/// html for text/html and XML, json for JSON's types, else text.
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
  /// Longest text, and most variables of one template.
  static constexpr std::size_t kMaxText = std::size_t{64} * 1024;
  static constexpr std::size_t kMaxVariables = 64;

  /// Nothing.
  Template() noexcept = default;
  /// Error invalid_argument; `why`, if given, becomes a sentence for whoever wrote the template, and `at` the offset of
  /// what is wrong. `names` must outlive the template. Throws std::bad_alloc.
  [[nodiscard]] static Result<Template> parse(std::string_view text, std::string* why = nullptr,
                                              std::size_t* at = nullptr,
                                              std::span<const VariableName> names = request_variables());

  /// Appends to `out`. Error message_size: out would be longer than `most`; it holds a part then. Throws std::bad_alloc
  /// and what the source throws.
  [[nodiscard]] Result<void> render(VariableSource& source, Form form, std::string& out,
                                    std::size_t most = kMaxText) const;

  [[nodiscard]] bool constant() const noexcept { return variables_ == 0; }
  [[nodiscard]] bool uses(Variable variable) const noexcept { return uses(static_cast<std::uint8_t>(variable)); }
  [[nodiscard]] bool uses(std::uint8_t id) const noexcept;
  [[nodiscard]] bool empty() const noexcept { return parts_.empty(); }

 private:
  friend Result<void> check_location(const Template& location, std::string* why);
  static constexpr std::uint8_t kLiteral = 255;
  struct Part {
    std::uint8_t id = kLiteral;
    std::string text;  // the literal, or a variable's argument
  };
  std::vector<Part> parts_;
  std::size_t variables_ = 0;
};

/// For templates of request_variables() that become a Location (RFC 9110 section 10.2.2): no value of a client's but
/// ${host} and ${scheme} may stand where the URI's host is ("https://a.example${rest}" would lead to
/// a.example.evil.example). Error invalid_argument, and `why`.
[[nodiscard]] Result<void> check_location(const Template& location, std::string* why = nullptr);

}  // namespace fiberd::http

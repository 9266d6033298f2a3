#pragma once
// What texts of the configuration may hold: the rules that more than one section has.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/reader.hpp"
#include "core/base/text.hpp"

namespace fiberd::config {

using ascii::has_control;
using ascii::is_token;

/// As hosts are compared: lower case, without the dot that ends a name's absolute form.
[[nodiscard]] std::string plain_host(std::string host);
/// What is wrong with a host as it is written, without port, or "*." and one; empty: nothing. Names are as they go over
/// the wire.
[[nodiscard]] std::string check_host_pattern(std::string_view host);
/// Whether there is a host that both patterns stand for.
[[nodiscard]] bool hosts_meet(std::string_view a, std::string_view b);
/// The list `hosts`, plain; what is wrong is reported at its item.
[[nodiscard]] std::vector<std::string> read_hosts(const Reader& r);

/// What is wrong with a route's path; empty: nothing. Requests' paths come without query, decoded once, without dot
/// segments and empty ones, so a path that is written otherwise would hardly ever be met.
[[nodiscard]] std::string check_route_path(std::string_view path);

/// What is wrong with a file's path that somebody may take us for a shell: empty, or a byte that ends it early.
[[nodiscard]] std::string check_file_path(std::string_view path);

/// The first $name or ${name} of a text, as it is written there; empty: there is none. A $ before anything else, and at
/// the end, is a character like others.
[[nodiscard]] std::string_view find_variable(std::string_view text);
/// The first $0 … $9… of a text, which stands for a part of a pattern's match in other servers; empty: there is none.
[[nodiscard]] std::string_view find_group(std::string_view text);
/// Whether it can hardly be meant as text: ${name}, or the name of something of a request in other servers.
[[nodiscard]] bool is_meant_as_variable(std::string_view variable);
/// What to say of a variable that stands for nothing where it is written. `remedy` is said where the name gives none.
[[nodiscard]] std::string unknown_variable(std::string_view variable, std::string_view remedy);

/// A field's value, in which nothing is replaced: who writes $host there means something else. `key` is a text's, or
/// the index-th of a list or mapping.
void check_field(const Reader& r, std::string_view key, std::string_view value);
void check_field(const Reader& r, std::string_view key, std::size_t index, std::string_view value);
/// What is wrong with an origin as browsers write it, or a pattern of them; empty: nothing.
[[nodiscard]] std::string check_origin(std::string_view origin);
/// What is wrong with the name of a field that answers get; empty: nothing. Those of framing are the server's.
[[nodiscard]] std::string check_own_field(std::string_view name);
/// The same for one that is taken out of answers: Server may be.
[[nodiscard]] std::string check_removed_field(std::string_view name);
/// "text/css"; with `pattern` "text/*", too.
[[nodiscard]] std::string check_media_type(std::string_view type, bool pattern);
/// ".css", ".tar.gz".
[[nodiscard]] std::string check_extension(std::string_view extension);

/// What is wrong with the type of content in which clients' text stands: none, or one for which browsers guess another.
[[nodiscard]] std::string check_type_of_variables(std::string_view content_type);
/// Whether a template has any; of one that read_template() has returned.
[[nodiscard]] bool has_variables(const std::string& text);

/// Where a template's text goes to.
enum class TemplateOf : std::uint8_t { body, field, location };
/// Reports what is wrong with a template of request variables; it comes back as whoever serves it takes it.
[[nodiscard]] std::string read_template(const Reader& r, std::string_view key, std::string text, TemplateOf what);
[[nodiscard]] std::string read_template(const Reader& r, std::string_view key, std::size_t index, std::string text,
                                        TemplateOf what);

}  // namespace fiberd::config

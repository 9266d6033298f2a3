#include "core/http/variables.hpp"

#include <algorithm>
#include <utility>

#include "core/base/characters.hpp"
#include "core/base/json.hpp"
#include "core/base/text.hpp"
#include "core/base/utf8.hpp"
#include "core/http/characters.hpp"

namespace fiberd::http {
namespace {

void percent(char c, std::string& out) {
  const auto byte = static_cast<unsigned char>(c);
  out += {'%', kUpperHexDigits[byte >> 4U], kUpperHexDigits[byte & 15U]};
}

// What may stand in a URI as it is (RFC 3986 sections 2.2, 2.3 and 3.3), by where it comes from.
enum class Piece : std::uint8_t { component, path, query, authority };

bool stands_in_uri(char c, Piece piece) noexcept {
  const bool unreserved = is_alnum(c) || c == '_' || c == '-' || c == '.' || c == '~';
  if (unreserved) return true;
  constexpr std::string_view sub_delims = "!$&'()*+,;=";
  const bool pchar = c == ':' || c == '@' || sub_delims.find(c) != std::string_view::npos;
  switch (piece) {
    case Piece::component: return false;
    case Piece::path: return pchar || c == '/';
    case Piece::query: return pchar || c == '/' || c == '?' || c == '%';
    case Piece::authority: return pchar || c == '[' || c == ']' || c == '%';
  }
  return false;
}

Piece piece_of(std::uint8_t id) noexcept {
  switch (static_cast<Variable>(id)) {
    case Variable::path:
    case Variable::rest: return Piece::path;
    case Variable::query: return Piece::query;
    case Variable::host:
    case Variable::client: return Piece::authority;
    case Variable::method:
    case Variable::scheme:
    case Variable::request_id:
    case Variable::header:
    case Variable::tls_version:
    case Variable::tls_cipher:
    case Variable::tls_server_name:
    case Variable::client_cert_verified:
    case Variable::client_cert_subject:
    case Variable::client_cert_names:
    case Variable::client_cert_fingerprint: break;
  }
  return Piece::component;
}

void escape_html(char c, std::string& out) {
  switch (c) {
    case '&': out += "&amp;"; return;
    case '<': out += "&lt;"; return;
    case '>': out += "&gt;"; return;
    case '"': out += "&quot;"; return;
    case '\'': out += "&#39;"; return;
    default: out += c;
  }
}

void escape_log(char c, std::string& out) {
  if (ascii::is_plain(c)) {
    out += c;
    return;
  }
  const auto byte = static_cast<unsigned char>(c);
  out += {'\\', 'x', kUpperHexDigits[byte >> 4U], kUpperHexDigits[byte & 15U]};
}

void escape_script(char c, std::string& out) {
  // Strings have three kinds of quotes there.
  if (c == '\'' || c == '`' || c == '$' || c == '<' || c == '>' || c == '&')
    out += JsonByte::escaped(c).text();
  else
    out += JsonByte(c).text();
}

/// Where bytes that are no UTF-8 would spoil the whole, they become U+FFFD.
void append_characters(std::string_view value, Form form, std::string& out) {
  while (!value.empty()) {
    const std::size_t n = utf8_length(value);
    if (n != 1)
      out += n != 0 ? value.substr(0, n) : kReplacementCharacter;
    else if (form == Form::html)
      escape_html(value.front(), out);
    else if (form == Form::script)
      escape_script(value.front(), out);
    else
      out += JsonByte(value.front()).text();
    value.remove_prefix(std::max<std::size_t>(n, 1));
  }
}

void append(std::string_view value, std::uint8_t id, Form form, std::string& out) {
  if (form == Form::html || form == Form::json || form == Form::script) return append_characters(value, form, out);
  const Piece piece = piece_of(id);
  for (const char c : value) {
    switch (form) {
      case Form::location: stands_in_uri(c, piece) ? out.push_back(c) : percent(c, out); break;
      case Form::field: is_class(c, chars::kValue) ? out.push_back(c) : percent(c, out); break;
      case Form::log: escape_log(c, out); break;
      case Form::text:
      case Form::html:
      case Form::json:
      case Form::script: out += c; break;
    }
  }
}

}  // namespace

Form form_for(std::string_view content_type) noexcept {
  const std::string_view type = trim(content_type.substr(0, content_type.find(';')));
  const auto ends_lower = [&](std::string_view end) {
    return type.size() >= end.size() && equals_lower(type.substr(type.size() - end.size()), end);
  };
  if (ends_lower("/html") || ends_lower("/xml") || ends_lower("+xml")) return Form::html;
  if (ends_lower("/json") || ends_lower("+json")) return Form::json;
  // application/x-javascript, text/javascript1.5, text/x-ecmascript, text/jscript, text/livescript: browsers run them
  // all.
  const std::string lower = ascii::lower(type);
  for (const char* script : {"javascript", "ecmascript", "jscript", "livescript"})
    if (lower.find(script) != std::string::npos) return Form::script;
  return Form::text;
}

Result<Template> Template::parse(std::string_view text, std::string* why, std::span<const VariableName> names) {
  Template made;
  if (std::string wrong = parse_template(text, names, made.parts_); !wrong.empty()) {
    if (why != nullptr) *why = std::move(wrong);
    return fail(std::errc::invalid_argument);
  }
  made.variables_ = static_cast<std::size_t>(std::count_if(
      made.parts_.begin(), made.parts_.end(), [](const TemplatePart& p) { return p.id != TemplatePart::kLiteral; }));
  return made;
}

bool Template::uses(std::uint8_t id) const noexcept {
  return std::any_of(parts_.begin(), parts_.end(),
                     [id](const TemplatePart& p) { return p.id == id && id != TemplatePart::kLiteral; });
}

Result<void> Template::render(VariableSource& source, Form form, std::string& out, std::size_t most) const {
  for (const TemplatePart& part : parts_) {
    if (part.id == TemplatePart::kLiteral) {
      out += part.text;
    } else {
      const std::string_view value = source.value(part.id, part.text);
      if (value.size() > most) return fail(std::errc::message_size);
      append(value, part.id, form, out);
    }
    if (out.size() > most) return fail(std::errc::message_size);
  }
  return {};
}

Result<void> check_location(const Template& location, std::string* why) {
  std::string wrong = fiberd::check_location(location.parts_);
  if (wrong.empty()) return {};
  if (why != nullptr) *why = std::move(wrong);
  return fail(std::errc::invalid_argument);
}

}  // namespace fiberd::http

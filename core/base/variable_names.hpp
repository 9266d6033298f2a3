#pragma once
// Templates: texts with variables, `https://${host}/new/${rest}${query}`. This is how they are written and which names
// there are of a request; whoever has the values renders them.
//
//  - `${name}` is a variable. Names are in lower case; which there are is said by a table.
//  - `$$` is a dollar sign. So is a `$` before anything but '{', a letter or '_': "5 $" and "$5" are what they look
//    like.
//  - `$name` is refused with the spelling that is meant: as text it would be sent to everybody. So is an unknown name,
//    with the nearest one that there is; names of other servers get the ones of ours.
//  - `${NAME}` in upper case is the environment's, replaced where the configuration is read.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fiberd {

/// The variables of a request.
enum class RequestVariable : std::uint8_t {
  host,        ///< as the client sent it, without its port: "a.example", "[::1]"
  path,        ///< the normal form, decoded
  rest,        ///< of a prefix route: what is below it, without a leading slash
  query,       ///< as sent, with its '?'; empty without one
  method,      ///< "GET"
  scheme,      ///< "http", "https"
  client,      ///< the client's address without its port, behind trusted proxies the real one
  request_id,  ///< empty where no filter gave one
  header,      ///< header.NAME: the request's first field of that name; empty without one
  // Of the connection, where it is encrypted; else empty.
  tls_version,           ///< "TLSv1.3"
  tls_cipher,            ///< "TLS_AES_256_GCM_SHA384"
  tls_server_name,       ///< which the client asked for (SNI), as it sent it
  client_cert_verified,  ///< "yes": the client has shown a certificate, which was proved; "no": it has not
  // Of that certificate; empty without one. Printable ASCII.
  client_cert_subject,     ///< "CN=alice,O=Example" (RFC 2253)
  client_cert_names,       ///< its subjectAltName, with blanks between: "DNS:a.example URI:spiffe://a/b"
  client_cert_fingerprint  ///< SHA-256, in hexadecimal digits
};

/// A name that templates of one kind know. One that ends in '.' takes a field name behind it: "header.".
struct VariableName {
  std::string_view name;
  std::uint8_t id;
};
/// Of RequestVariable, in its order.
[[nodiscard]] std::span<const VariableName> request_variables() noexcept;

struct TemplatePart {
  static constexpr std::uint8_t kLiteral = 255;
  std::uint8_t id = kLiteral;
  std::string text{};  ///< the literal, or what stands behind the dot: a field's name as written
};

/// Longest text, and most variables of one template.
inline constexpr std::size_t kMaxTemplate = std::size_t{64} * 1024;
inline constexpr std::size_t kMaxVariables = 64;

/// What is wrong with one text is told all at once, each thing once, as far as a line goes ("and more"): appends `what`
/// to `all`.
void add_complaint(std::string& all, const std::string& what);

/// Appends the parts of `text` to `parts`; two literals never stand beside each other. All that is wrong, as a sentence
/// for whoever wrote it; empty: nothing. Linear in text and names. Throws std::bad_alloc.
[[nodiscard]] std::string parse_template(std::string_view text, std::span<const VariableName> names,
                                         std::vector<TemplatePart>& parts);

/// What is wrong with a Location (RFC 9110 section 10.2.2) of request_variables(); empty: nothing. No value that a
/// client chooses but ${host} and ${scheme} may stand where the URI's host is: "https://a.example${header.x}" would
/// lead to a.example.evil.example.
[[nodiscard]] std::string check_location(std::span<const TemplatePart> location);

/// How a variable that is unknown here is probably meant, as it is written ("${path}${query}" for "request_uri");
/// empty: nothing is near.
[[nodiscard]] std::string nearest_variable(std::string_view name, std::span<const VariableName> names);

}  // namespace fiberd

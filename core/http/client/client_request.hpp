#pragma once
// What the client is asked to send.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/http/message.hpp"
#include "core/net/endpoint.hpp"

namespace fiberd::http {

/// Where a request's body comes from, piece by piece. Called on the fiber that sends, and by nobody else meanwhile.
class BodySource {
 public:
  BodySource() = default;
  BodySource(const BodySource&) = delete;
  BodySource& operator=(const BodySource&) = delete;
  virtual ~BodySource() = default;
  /// The next piece; empty at the end. The view holds until the next call. May wait, under `ctx`. An error ends the
  /// request, and is what send() returns.
  [[nodiscard]] virtual Result<std::string_view> read(const context::Context& ctx) = 0;
  /// Begins anew, so that the request can be sent once more. False: it cannot.
  [[nodiscard]] virtual bool rewind() { return false; }
};

/// All views are used until send() returns, or for an upload until begin() does.
struct ClientRequest {
  Method method = Method::get;
  std::string_view method_text{};  ///< instead of `method`: any other token. Not CONNECT
  std::string_view url{};          ///< "http[s]://host[:port][/path][?query]"
  /// Not those that the client writes itself, for they frame the message or concern this connection alone: Host,
  /// Connection, Content-Length, Transfer-Encoding, Expect, Keep-Alive, Proxy-Connection, TE, Trailer, Upgrade.
  /// traceparent and tracestate among them are left out where the context has a trace: then the client's are sent.
  std::span<const Field> fields{};
  std::string_view host{};  ///< the Host field, if it is not to be the URL's (which a certificate has to have)
  /// Where to connect to, whatever host the URL names: a Unix socket, a proxy's choice.
  std::optional<net::Endpoint> endpoint{};

  std::string_view body{};                     ///< all of it; or
  BodySource* source = nullptr;                ///< its source
  std::optional<std::uint64_t> source_size{};  ///< what comes from the source; unknown: sent in chunks
  bool expect_continue = false;                ///< the body waits for the server's word (RFC 9110 section 10.1.1)
  bool close = false;                          ///< the connection is not used again
  /// Whether it may be sent twice if the first time may not have been seen; as the method has it (RFC 9110 section
  /// 9.2.2) if nothing is said.
  std::optional<bool> idempotent{};
};

/// GET, HEAD, OPTIONS, TRACE, PUT, DELETE.
[[nodiscard]] constexpr bool is_idempotent(Method method) noexcept {
  return method == Method::get || method == Method::head || method == Method::options || method == Method::trace ||
         method == Method::put || method == Method::delete_;
}

/// How a request's body is framed.
struct RequestFraming {
  bool has_body = false;
  std::optional<std::uint64_t> length{};  ///< unknown: in chunks
};

/// Where a request stands in a trace: fields of W3C Trace Context; empty: in none.
struct TraceFields {
  std::string_view parent{};
  std::string_view state{};
};

/// Writes the request line, the fields and the empty line into `out`. Errors: client_errc::bad_url, bad_request;
/// nothing that would split the message is ever written. Throws std::bad_alloc.
[[nodiscard]] Result<void> write_request_head(std::string& out, const ClientRequest& request,
                                              const RequestFraming& framing, std::string_view user_agent,
                                              const TraceFields& trace = {});

}  // namespace fiberd::http

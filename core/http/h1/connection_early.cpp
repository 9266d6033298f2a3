// Requests that came before the handshake of what carries them was over (TLS's early data): whoever has recorded them
// can send them again. RFC 8470: those that are served all the same get the field Early-Data; others wait for the
// handshake's end, behind which they are as good as any.
//
// The field is written into the head, and that is parsed again: it is a field like those of the client, for filters,
// handlers, logs and whoever forwards it.
#include <cstring>

#include "core/http/h1/connection.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http {

/// The head is complete. False: there is no room for the field.
bool Connection::mark_early() noexcept {
  static constexpr std::string_view kField = "Early-Data: 1\r\n";
  Workspace& ws = *ws_;
  const HeadLimits& limits = options().head;
  const std::size_t head = ws.parser.consumed();
  char* const message = ws.in + ws.begin;
  if (head + kField.size() > limits.header_size || ws.end + kField.size() > ws.in_capacity ||
      ws.parser.headers(message).size() >= limits.header_fields)
    return false;
  char* const blank_line = message + head - 2;
  std::memmove(blank_line + kField.size(), blank_line, static_cast<std::size_t>(ws.in + ws.end - blank_line));
  std::memcpy(blank_line, kField.data(), kField.size());
  ws.end += static_cast<std::uint32_t>(kField.size());
  ws.parser.reset();
  return ws.parser.parse(message, ws.end - ws.begin) == Verdict::complete;
}

Connection::Step Connection::serve_early() noexcept {
  if (stream_->is_early()) {
    const WireRequest request = ws_->parser.request(ws_->in + ws_->begin);
    const bool may_be_early = (request.method == Method::get || request.method == Method::head) &&
                              request.framing == Framing::none && !request.headers.has("upgrade");
    if (may_be_early && (request.early_data || mark_early())) {
      const Step step = serve_request();
      if (step != Step::left) note_past(kEarly);
      return step;
    }
    if (flush() || !stream_->finish_handshake(Deadline::in(options().timeouts.header))) return Step::close;
  }
  return serve_request();
}

}  // namespace fiberd::http

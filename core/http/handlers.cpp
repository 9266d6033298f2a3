#include "core/http/handlers.hpp"

#include <utility>

namespace fiberd::http {

namespace {

// Larger answers are sent from where they are instead of being copied into the output buffer.
constexpr std::size_t kPreparedMax = 8 * 1024;

class RespondHandler final : public Handler {
 public:
  RespondHandler(RespondOptions o, PreparedResponse p) : options(std::move(o)), prepared(std::move(p)) {}

  Result<void> serve(Exchange& exchange) override {
    if (options.body.size() <= kPreparedMax) return exchange.respond(prepared);
    return exchange.respond(options.status, options.content_type, options.body, fields);
  }

  const RespondOptions options;
  std::vector<Field> fields;  // into options
  PreparedResponse prepared;
};

class EchoHandler final : public Handler {
 public:
  Result<void> serve(Exchange& exchange) override {
    const Request& request = exchange.request();
    const std::string_view type = request.headers.find("content-type");
    ResponseHead head;
    head.content_type = type.empty() ? std::string_view("application/octet-stream") : type;
    head.content_length = request.content_length;
    // The first piece before the head: a body that is refused at its first byte is still answered with its status.
    Result<std::string_view> piece = exchange.read_body();
    if (!piece) return fail(piece.error());
    if (const Result<void> done = exchange.begin(head); !done) return done;
    while (!piece->empty()) {
      if (const Result<void> done = exchange.write(*piece); !done) return done;
      piece = exchange.read_body();
      if (!piece) return fail(piece.error());
    }
    return exchange.end();
  }
};

class PreparedHandler final : public Handler {
 public:
  explicit PreparedHandler(PreparedResponse prepared) : prepared_(std::move(prepared)) {}
  Result<void> serve(Exchange& exchange) override { return exchange.respond(prepared_); }

 private:
  PreparedResponse prepared_;
};

}  // namespace

Result<std::shared_ptr<Handler>> make_respond_handler(RespondOptions options) {
  auto fields_of = [](const RespondOptions& o) {
    std::vector<Field> fields;
    for (const auto& [name, value] : o.headers) fields.push_back({name, value});
    return fields;
  };
  const std::vector<Field> fields = fields_of(options);
  Result<PreparedResponse> prepared = PreparedResponse::make({.status = options.status,
                                                              .content_length = options.body.size(),
                                                              .server = options.server,
                                                              .content_type = options.content_type,
                                                              .fields = fields},
                                                             options.body);
  if (!prepared) return fail(prepared.error());
  auto handler = std::make_shared<RespondHandler>(std::move(options), std::move(*prepared));
  // Views into the handler's own strings, which do not move any more.
  handler->fields = fields_of(handler->options);
  return std::shared_ptr<Handler>(std::move(handler));
}

std::shared_ptr<Handler> make_echo_handler() { return std::make_shared<EchoHandler>(); }

Result<std::shared_ptr<Handler>> make_redirect_handler(const RedirectOptions& options) {
  switch (options.status) {
    case 301:
    case 302:
    case 303:
    case 307:
    case 308: break;
    default: return fail(std::errc::invalid_argument);
  }
  const Field location{"Location", options.location};
  Result<PreparedResponse> prepared = PreparedResponse::make(
      {.status = options.status, .content_length = 0, .server = options.server, .fields = {&location, 1}}, {});
  if (!prepared) return fail(prepared.error());
  return std::shared_ptr<Handler>(std::make_shared<PreparedHandler>(std::move(*prepared)));
}

}  // namespace fiberd::http

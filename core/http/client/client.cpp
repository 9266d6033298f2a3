#include "core/http/client/client.hpp"

#include <utility>

#include "core/base/defer.hpp"

namespace fiberd::http {

using client_detail::CallPool;

ClientResponse& ClientResponse::operator=(ClientResponse&& o) noexcept {
  if (this == &o) return *this;
  if (call_) call_->abandon();
  call_ = std::move(o.call_);
  return *this;
}

ClientResponse::~ClientResponse() {
  if (call_) call_->abandon();
}

Result<std::string> ClientResponse::read_all(const context::Context& ctx, std::size_t most) {
  std::string all;
  if (const auto length = content_length(); length && *length <= most) all.reserve(static_cast<std::size_t>(*length));
  for (;;) {
    const Result<std::string_view> piece = read_body(ctx);
    if (!piece) return fail(piece.error());
    if (piece->empty()) return all;
    if (piece->size() > most - all.size()) return fail(call_->give_up(client_errc::body_too_large));
    all += *piece;
  }
}

ClientUpload& ClientUpload::operator=(ClientUpload&& o) noexcept {
  if (this == &o) return *this;
  if (call_) call_->abandon();
  call_ = std::move(o.call_);
  return *this;
}

ClientUpload::~ClientUpload() {
  if (call_) call_->abandon();
}

Result<ClientResponse> ClientUpload::finish(const context::Context& ctx) {
  if (const Result<void> ended = call_->end(ctx); !ended) return fail(ended.error());
  return ClientResponse(std::move(call_));
}

Client::Client(ClientOptions options) : core_(std::make_unique<client_detail::ClientCore>(std::move(options))) {}
Client::~Client() = default;

Result<ClientResponse> Client::send(const context::Context& ctx, const ClientRequest& request) {
  CallPool::Pooled call = core_->calls.get();
  // What a body's source throws must not leave a half-used connection in a call that another request gets.
  const defer undo([&] {
    if (call) call->drop_unanswered();
  });
  if (const Result<void> answered = call->run(ctx, *core_, request); !answered) return fail(answered.error());
  return ClientResponse(std::move(call));
}

Result<ClientResponse> Client::get(const context::Context& ctx, std::string_view url) {
  return send(ctx, {.url = url});
}

Result<ClientResponse> Client::post(const context::Context& ctx, std::string_view url, std::string_view content_type,
                                    std::string_view body) {
  const Field field{"Content-Type", content_type};
  return send(ctx, {.method = Method::post, .url = url, .fields = {&field, 1}, .body = body});
}

namespace {
/// Stands for a body that is pushed.
class Pushed final : public BodySource {
 public:
  Result<std::string_view> read(const context::Context& /*ctx*/) override { return std::string_view(); }
};
}  // namespace

Result<ClientUpload> Client::begin(const context::Context& ctx, ClientRequest request) {
  Pushed pushed;
  request.source = &pushed;
  CallPool::Pooled call = core_->calls.get();
  const defer undo([&] {
    if (call) call->drop_unanswered();
  });
  if (const Result<void> begun = call->begin(ctx, *core_, request); !begun) return fail(begun.error());
  return ClientUpload(std::move(call));
}

void Client::close() noexcept { core_->connections.close(); }
std::size_t Client::idle() const noexcept { return core_->connections.idle(); }

}  // namespace fiberd::http

#include "core/http/client_context.hpp"

#include "core/net/byte_stream.hpp"

namespace fiberd::http {

ClientContext::ClientContext(const context::Context& server, net::ByteStream& stream, bool half_close_cancels)
    : stream_(stream), client_(context::with_cancel(server)), half_close_cancels_(half_close_cancels) {
  on_hang_up = [](runtime::HangUpWatch& watch, bool reset) noexcept {
    static_cast<ClientContext&>(watch).hung_up(reset);
  };
}

ClientContext::~ClientContext() {
  unwatch();
  client_.cancel();
}

void ClientContext::watch(bool more) noexcept {
  more_.store(more, std::memory_order_seq_cst);
  if (watched_) {
    if (stream_.hung_up()) hung_up(stream_.was_reset());
    return;
  }
  // Without it (epoll is full) the client's leaving is noticed when the answer is sent, as without a context.
  watched_ = stream_.watch_hang_up(*this).has_value();
}

void ClientContext::note_more(bool more) noexcept {
  more_.store(more, std::memory_order_seq_cst);
  if (!more && stream_.hung_up()) hung_up(stream_.was_reset());
}

void ClientContext::unwatch() noexcept {
  if (!watched_) return;
  watched_ = false;
  stream_.unwatch_hang_up(*this);
}

/// In the scheduler, or on the connection's fiber; both at once at worst, and then the context has one end.
void ClientContext::hung_up(bool reset) noexcept {
  if (!reset && (!half_close_cancels_ || more_.load(std::memory_order_seq_cst) || stream_.bytes_waiting())) return;
  client_.cancel(std::make_error_code(reset ? std::errc::connection_reset : std::errc::connection_aborted));
}

}  // namespace fiberd::http

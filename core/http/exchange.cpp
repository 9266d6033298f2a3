#include "core/http/exchange.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <string>

#include "core/base/bug.hpp"
#include "core/http/exchange_more.hpp"
#include "core/http/filters/request_id.hpp"
#include "core/http/h1/body_decoder.hpp"
#include "core/http/site/error_page.hpp"
#include "core/http/site/request_trace.hpp"
#include "core/http/site/site.hpp"
#include "core/trace/request_span.hpp"

namespace fiberd::http {

static tl::unexpected<std::error_code> misuse(const char* what) noexcept {
  report_bug(what);
  return fail(std::errc::operation_not_permitted);
}

/// Of an answer that failed behind its head nothing goes on, whoever asks: the client must see that it was cut.
Result<void> Exchange::out_of_place(const char* what) const noexcept {
  if (settled_ && committed()) return fail(std::errc::operation_canceled);
  return misuse(what);
}

void Exchange::DeleteMore::operator()(More* more) const noexcept { delete more; }

Exchange::More& Exchange::more() {
  if (more_ == nullptr) more_.reset(new More);
  return *more_;
}

Slots& Exchange::slots() { return more().slots; }
const Slots* Exchange::made_slots() const noexcept { return more_ != nullptr ? &more_->slots : nullptr; }

net::Endpoint Exchange::peer() const noexcept {
  return more_ != nullptr && more_->peer ? *more_->peer : stream_.peer();
}

bool Exchange::peer_is_set() const noexcept { return more_ != nullptr && more_->peer.has_value(); }

std::uint64_t Exchange::client_key() noexcept {
  return more_ != nullptr && more_->peer ? http::client_key(*more_->peer) : stream_.client_key();
}

void Exchange::set_peer(const net::Endpoint& peer) { more().peer = peer; }

const context::Context& Exchange::context() {
  if (context_.context == context::Context()) {
    const context::Context& client = client_context();
    context_ = context::with_deadline(client, deadline_);
    if (trace_ != nullptr) context_.context = with_trace(context_.context);
  }
  return context_.context;
}

trace::SpanContext Exchange::trace_ids() const noexcept {
  return trace_ != nullptr ? trace_->ids() : trace::SpanContext();
}

context::Context Exchange::with_trace(const context::Context& ctx) {
  if (trace_ == nullptr) return ctx;
  std::string state;
  if (trace_->has_parent() && !trace_->has_current()) state = tracestate_of(request_.headers);
  return context::with_value(ctx, trace::kCurrent, trace_->current(std::move(state)));
}

// ---------------------------------------------------------------------------------------------- at once

Result<void> Exchange::respond(unsigned status, std::string_view content_type, std::string_view body,
                               std::span<const Field> fields) {
  return respond({.status = status, .content_type = content_type, .fields = fields}, body);
}

Result<void> Exchange::respond(const ResponseHead& head, std::string_view body) {
  if (begun_ || committed()) return misuse("an answer was begun twice");
  const unsigned status = head.status;
  if (status < 200 || status > 599) return fail(std::errc::invalid_argument);
  AnswerStart start;
  start.head = head;
  // Of a 304 it would have to be that of the 200.
  if (!body.empty() || status != 304) start.head.content_length = body.size();
  if (!is_plain()) [[unlikely]] {
    if (const Result<void> done = lay_out(start.head); !done) return done;
    return respond_changed(status, body, {});
  }
  start.server = site_.options().server_name;
  start.rest = RestOfBody::unread;
  if (const Result<void> done = stream_.send_head(start); !done) return done;
  note_committed(status);
  if (sends_body() && !body.empty())
    if (const Result<void> done = stream_.send(body); !done) return done;
  if (const Result<void> done = stream_.end({}); !done) return done;
  ended_ = true;
  return {};
}

Result<void> Exchange::respond(const PreparedResponse& prepared) {
  if (begun_ || committed()) return misuse("an answer was begun twice");
  if (!is_plain()) [[unlikely]] {
    (void)take_room();
    return respond_changed(prepared.status(), prepared.body(), prepared.fields());
  }
  if (const Result<void> done = stream_.send_prepared(prepared); !done) return done;
  note_committed(prepared.status());
  ended_ = true;
  return {};
}

/// What somebody wants to change goes the longer way.
Result<void> Exchange::respond_changed(unsigned status, std::string_view body, std::string_view lines) {
  if (const Result<void> done = lines_.append(lines); !done) return done;
  begun_ = true;
  begun_status_ = status;
  rest_of_body_ = RestOfBody::unread;
  length_.reset();
  if (!body.empty() || status != 304) length_ = body.size();
  left_ = 0;
  Result<void> done = commit(body, true, false);
  if (done) done = stream_.end({});
  ended_ = done.has_value();
  return done;
}

Result<void> Exchange::respond_error(unsigned status, std::span<const Field> fields) {
  static constexpr std::size_t kMost = 8;
  (void)discard();
  std::array<Field, kMost + 1> all;
  if (fields.size() > kMost) return misuse("more fields than an error takes");
  const auto end = std::copy(fields.begin(), fields.end(), all.begin());
  const RequestId* const id = find_slot<RequestId>();
  const trace::IdText trace_id(trace_ids().trace_id);
  const RequestNames names{id != nullptr ? std::string_view(id->text) : std::string_view(), trace_id.text()};
  for (const std::span<const ErrorPage> pages : {error_pages_, std::span<const ErrorPage>(site_.options().error_pages)})
    for (const ErrorPage& page : pages)
      if (page.status == status)
        return respond(status, page.content_type, page.names_requests ? fill_in(page.body, names) : page.body, fields);
  // The form depends on Accept, and some errors may be cached.
  *end = {"Vary", "Accept"};
  const ErrorBody body(status, request_.headers, names);
  return respond(status, body.content_type(), body.text(), {all.data(), fields.size() + 1});
}

// ---------------------------------------------------------------------------------------------- in pieces

std::span<char> Exchange::take_room() noexcept {
  const ServerStream::Room room = stream_.room();
  lines_.reset(room.fields);
  held_room_ = room.body;
  held_ = 0;
  return room.fields;
}

/// The fields of an answer that is not committed yet.
Result<void> Exchange::lay_out(const ResponseHead& head) {
  const std::span<char> room = take_room();
  const std::string_view server = site_.options().server_name;
  Result<std::size_t> size = write_fields(room, server, head);
  if (size) {
    lines_.reset(room, *size);
    return {};
  }
  if (size.error() != std::errc::no_buffer_space) return fail(size.error());
  std::size_t larger = 64 + server.size() + head.content_type.size();
  if (head.block != nullptr) larger += head.block->text().size();
  for (const Field& field : head.fields) larger += field.name.size() + field.value.size() + 4;
  std::string text(larger, '\0');
  size = write_fields(text, server, head);
  if (!size) return fail(size.error());
  return lines_.append(std::string_view(text).substr(0, *size));
}

Result<void> Exchange::begin(const ResponseHead& head, RestOfBody rest) {
  if (begun_ || committed()) return misuse("an answer was begun twice");
  if (head.status < 200 || head.status > 599) return fail(std::errc::invalid_argument);
  if (const Result<void> done = lay_out(head); !done) return done;
  begun_ = true;
  begun_status_ = head.status;
  rest_of_body_ = rest;
  length_ = head.content_length;
  left_ = sends_body() ? length_.value_or(0) : 0;
  return {};
}

bool Exchange::discard() noexcept {
  if (committed() || telling_) return false;
  begun_ = encoded_ = false;
  return true;
}

Result<void> Exchange::commit(std::string_view data, bool complete, bool with_trailers) {
  if (edited_) [[unlikely]]
    if (const Result<void> done = apply_edits(); !done) return done;
  AnswerStart start;
  start.head.status = begun_status_;
  start.head.content_length = length_;
  start.rest = rest_of_body_;
  // A handler may write nothing to HEAD; then the length that GET would get is not known.
  if (!length_ && complete && !with_trailers && status_has_body(begun_status_) &&
      (held_ + data.size() != 0 || !to_head_))
    start.head.content_length = held_ + data.size();
  if (hooks_ != nullptr) [[unlikely]]
    if (tell_hooks(start.head.content_length, complete) != nullptr)
      return commit_encoded(start, data, complete, with_trailers);
  start.lines = lines_.text();
  if (const Result<void> done = stream_.send_head(start); !done) return done;
  note_committed(begun_status_);
  if (!sends_body()) return {};
  if (held_ != 0)
    if (const Result<void> done = stream_.send({held_room_.data(), held_}); !done) return done;
  return data.empty() ? Result<void>() : stream_.send(data);
}

Result<void> Exchange::write(std::string_view data) {
  if (!begun_ || ended_) return out_of_place("write outside of begin and end");
  if (data.empty()) return {};
  if (length_ && sends_body()) {
    if (data.size() > left_) return misuse("more body than its Content-Length");
    left_ -= data.size();
  }
  if (!committed()) {
    if (data.size() > held_room_.size() - held_) return commit(data, false, false);
    // To HEAD, too, the head shall say what it says to GET.
    if (sends_body()) std::memcpy(held_room_.data() + held_, data.data(), data.size());
    held_ += data.size();
    return {};
  }
  if (!sends_body()) return {};
  if (encoded_) [[unlikely]]
    return pump(data, EncodeTo::go_on);
  return stream_.send(data);
}

Result<void> Exchange::write_file(int fd, std::uint64_t offset, std::uint64_t count) {
  if (!begun_ || ended_ || !length_) return out_of_place("write_file needs begin with a length");
  if (!sends_body()) return {};
  if (count > left_) return misuse("more body than its Content-Length");
  if (!committed())
    if (const Result<void> done = commit({}, false, false); !done) return done;
  left_ -= count;
  if (encoded_) [[unlikely]]
    return pump_file(fd, offset, count);
  return stream_.send_file(fd, offset, count);
}

Result<void> Exchange::flush() {
  if ((!begun_ && !ended_) || telling_) return out_of_place("flush outside of begin and end");
  if (!committed()) {
    if (const Result<void> done = commit({}, false, false); !done) return done;
  }
  if (encoded_ && !ended_ && sends_body()) [[unlikely]]
    if (const Result<void> done = pump({}, EncodeTo::flush); !done) return done;
  return stream_.flush();
}

Result<void> Exchange::end(std::span<const Field> trailers) {
  if (!begun_ || ended_) return out_of_place("end outside of begin");
  if (length_ && left_ != 0) return misuse("less body than its Content-Length");
  if (length_ && !trailers.empty()) return fail(std::errc::invalid_argument);
  // Whoever the client is, and before anything is sent: what is wrong is wrong to all.
  for (const Field& field : trailers)
    if (!is_writable(field) || is_forbidden_trailer(field.name)) return fail(std::errc::invalid_argument);
  if (!committed()) {
    if (const Result<void> done = commit({}, true, !trailers.empty()); !done) return done;
  } else if (encoded_ && sends_body()) [[unlikely]] {
    if (const Result<void> done = pump({}, EncodeTo::finish); !done) return done;
  }
  if (const Result<void> done = stream_.end(sends_body() ? trailers : std::span<const Field>()); !done) return done;
  ended_ = true;
  return {};
}

// ---------------------------------------------------------------------------------------------- others' changes

Result<void> Exchange::edit(Edit edit) {
  if (committed() || telling_) return fail(std::errc::operation_not_permitted);
  if (edit.what != Edit::What::remove && !is_writable({edit.name, edit.value}))
    return fail(std::errc::invalid_argument);
  more().edits.push_back(std::move(edit));
  edited_ = true;
  return {};
}

Result<void> Exchange::set_field(std::string_view name, std::string_view value) {
  return edit({Edit::What::set, std::string(name), std::string(value)});
}

Result<void> Exchange::add_field(std::string_view name, std::string_view value) {
  return edit({Edit::What::add, std::string(name), std::string(value)});
}

Result<void> Exchange::remove_field(std::string_view name) { return edit({Edit::What::remove, std::string(name), {}}); }

Result<void> Exchange::apply_edits() {
  for (const Edit& e : more_->edits) {
    Result<void> done;
    if (e.what == Edit::What::set) done = lines_.set(e.name, e.value);
    if (e.what == Edit::What::add) done = lines_.add(e.name, e.value);
    if (e.what == Edit::What::remove) lines_.remove(e.name);
    if (!done) return done;
  }
  return {};
}

// ---------------------------------------------------------------------------------------------- before an answer

Result<void> Exchange::respond_interim(unsigned status, std::span<const Field> fields) {
  if (status < 102 || status > 199) return fail(std::errc::invalid_argument);
  if (committed() || telling_) return fail(std::errc::operation_not_permitted);
  return stream_.send_interim(status, fields);
}

bool Exchange::asks_upgrade(std::string_view protocol) const noexcept {
  return request_.connect_protocol.empty() ? request_.headers.has_token("upgrade", protocol)
                                           : equals_ignore_case(request_.connect_protocol, protocol);
}

Result<net::ByteStream*> Exchange::upgrade(std::string_view protocol, std::span<const Field> fields) {
  if (begun_ || committed() || request_.has_body() || !asks_upgrade(protocol))
    return fail(std::errc::operation_not_permitted);
  Result<net::ByteStream*> bytes = stream_.upgrade(protocol, fields);
  if (!bytes) return bytes;
  note_committed(request_.connect_protocol.empty() ? 101 : 200);
  ended_ = true;
  return bytes;
}

}  // namespace fiberd::http

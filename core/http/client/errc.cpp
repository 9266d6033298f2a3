#include "core/http/client/errc.hpp"

#include <algorithm>
#include <string>

namespace fiberd::http {

static constexpr int kFirstRule = static_cast<int>(client_errc::bad_framing);

static bool is_rule(int value) noexcept {
  return value > kFirstRule && value < kFirstRule + static_cast<int>(Reject::count_);
}

static std::string words(std::string_view token) {
  std::string text(token);
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

static std::string_view sentence_of(client_errc code) noexcept {
  switch (code) {
    case client_errc::bad_url: return "not a URL of the form http[s]://host[:port]/path";
    case client_errc::bad_request: return "the request has a method, target or field that cannot be sent";
    case client_errc::bad_request_body: return "the request's body is not as long as was announced";
    case client_errc::too_many_waiting: return "too many requests wait for a connection";
    case client_errc::wait_timeout: return "no connection became free in time";
    case client_errc::connect_timeout: return "the connection was not made in time";
    case client_errc::client_closed: return "the client was closed";
    case client_errc::certificate_expired: return "the server's certificate has expired: it has to be renewed there";
    case client_errc::certificate_not_yet_valid:
      return "the server's certificate is not valid yet: is this machine's clock right?";
    case client_errc::unknown_issuer:
      return "nobody who is believed has signed the server's certificate: name its authority's certificate as `ca`, or "
             "install the package ca-certificates";
    case client_errc::name_mismatch: return "the server's certificate is for other names: ask by a name that it has";
    case client_errc::certificate_refused: return "the server's certificate cannot be believed";
    case client_errc::not_tls: return "the server speaks no TLS at this port: is it http:// that is meant?";
    case client_errc::tls_refused:
      return "the server refused the TLS handshake: no version or cipher in common, or it wants a client certificate";
    case client_errc::tls_failed: return "the TLS handshake broke off";
    case client_errc::write_timeout: return "the server did not take the request in time";
    case client_errc::head_timeout: return "the answer did not come in time";
    case client_errc::body_timeout: return "the answer's body stopped coming";
    case client_errc::closed_before_answer: return "the server closed the connection without an answer";
    case client_errc::truncated_head: return "the answer broke off in its head";
    case client_errc::truncated_body: return "the answer broke off in its body";
    case client_errc::not_http: return "the answer is not HTTP/1";
    case client_errc::bad_status_line: return "malformed answer: bad status line";
    case client_errc::bad_status: return "malformed answer: bad status code";
    case client_errc::unexpected_content: return "malformed answer: content where there can be none";
    case client_errc::unasked_upgrade: return "the server changes to a protocol that nobody asked for";
    case client_errc::too_many_interim: return "too many interim answers";
    case client_errc::head_too_large: return "the answer's head is too large";
    case client_errc::body_too_large: return "the answer's body is too large";
    case client_errc::bad_framing: break;
  }
  return "unknown";
}

const std::error_category& client_category() noexcept {
  static const class Category final : public std::error_category {
   public:
    [[nodiscard]] const char* name() const noexcept override { return "fiberd.http.client"; }
    [[nodiscard]] std::string message(int value) const override {
      if (is_rule(value)) return "malformed answer: " + words(token_of(static_cast<Reject>(value - kFirstRule)));
      return std::string(sentence_of(static_cast<client_errc>(value)));
    }
    [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override {
      if (is_rule(value)) return std::errc::bad_message;
      switch (static_cast<client_errc>(value)) {
        case client_errc::bad_url:
        case client_errc::bad_request:
        case client_errc::bad_request_body: return std::errc::invalid_argument;
        case client_errc::too_many_waiting: return std::errc::resource_unavailable_try_again;
        case client_errc::wait_timeout:
        case client_errc::connect_timeout:
        case client_errc::write_timeout:
        case client_errc::head_timeout:
        case client_errc::body_timeout: return std::errc::timed_out;
        case client_errc::client_closed: return std::errc::operation_canceled;
        case client_errc::certificate_expired:
        case client_errc::certificate_not_yet_valid:
        case client_errc::unknown_issuer:
        case client_errc::name_mismatch:
        case client_errc::certificate_refused:
        case client_errc::not_tls:
        case client_errc::tls_refused:
        case client_errc::tls_failed: return std::errc::protocol_error;
        case client_errc::closed_before_answer:
        case client_errc::truncated_head:
        case client_errc::truncated_body: return std::errc::connection_aborted;
        case client_errc::not_http:
        case client_errc::bad_status_line:
        case client_errc::bad_status:
        case client_errc::unexpected_content:
        case client_errc::unasked_upgrade:
        case client_errc::too_many_interim:
        case client_errc::bad_framing: return std::errc::bad_message;
        case client_errc::head_too_large:
        case client_errc::body_too_large: return std::errc::message_size;
      }
      return {value, *this};
    }
  } instance;
  return instance;
}

std::error_code refused_answer(Reject rule) noexcept {
  if (rule == Reject::head_too_large || rule == Reject::too_many_fields || rule == Reject::trailers_too_large)
    return client_errc::head_too_large;
  if (rule == Reject::body_too_large) return client_errc::body_too_large;
  return {kFirstRule + static_cast<int>(rule), client_category()};
}

Reject rule_of(const std::error_code& error) noexcept {
  if (error.category() != client_category() || !is_rule(error.value())) return Reject::none;
  return static_cast<Reject>(error.value() - kFirstRule);
}

bool is_malformed(const std::error_code& error) noexcept {
  return error.category() == client_category() && error == std::errc::bad_message;
}

std::string_view token_of(client_errc code) noexcept {
  switch (code) {
    case client_errc::bad_url: return "bad_url";
    case client_errc::bad_request: return "bad_request";
    case client_errc::bad_request_body: return "bad_request_body";
    case client_errc::too_many_waiting: return "too_many_waiting";
    case client_errc::wait_timeout: return "wait_timeout";
    case client_errc::connect_timeout: return "connect_timeout";
    case client_errc::client_closed: return "client_closed";
    case client_errc::certificate_expired: return "certificate_expired";
    case client_errc::certificate_not_yet_valid: return "certificate_not_yet_valid";
    case client_errc::unknown_issuer: return "unknown_issuer";
    case client_errc::name_mismatch: return "name_mismatch";
    case client_errc::certificate_refused: return "certificate_refused";
    case client_errc::not_tls: return "not_tls";
    case client_errc::tls_refused: return "tls_refused";
    case client_errc::tls_failed: return "tls_failed";
    case client_errc::write_timeout: return "write_timeout";
    case client_errc::head_timeout: return "head_timeout";
    case client_errc::body_timeout: return "body_timeout";
    case client_errc::closed_before_answer: return "closed_before_answer";
    case client_errc::truncated_head: return "truncated_head";
    case client_errc::truncated_body: return "truncated_body";
    case client_errc::head_too_large: return "head_too_large";
    case client_errc::body_too_large: return "body_too_large";
    case client_errc::too_many_interim: return "too_many_interim";
    case client_errc::not_http:
    case client_errc::bad_status_line:
    case client_errc::bad_status:
    case client_errc::unexpected_content:
    case client_errc::unasked_upgrade:
    case client_errc::bad_framing: return "malformed";
  }
  return static_cast<int>(code) > kFirstRule ? "malformed" : "unknown";
}

}  // namespace fiberd::http

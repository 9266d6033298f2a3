#include "core/http/site/dispatch.hpp"

#include <exception>
#include <string>

#include "core/base/bug.hpp"
#include "core/base/log.hpp"
#include "core/http/host.hpp"
#include "core/http/path.hpp"
#include "core/http/site/refusal_log.hpp"
#include "core/http/site/slash_redirect.hpp"
#include "core/runtime/recover.hpp"
#include "core/runtime/trace_request.hpp"

namespace fiberd::http {

/// 411: content whose length is not told, or none where the method is about content (RFC 9110 section 15.5.12).
static bool lacks_length(const Request& request) noexcept {
  if (request.unknown_length) return true;
  const Method m = request.method;
  return !request.content_length && (m == Method::post || m == Method::put || m == Method::patch);
}

/// Served by who would not mind to be asked twice (RFC 8470 section 4): nothing is changed by it, nor begun.
static bool may_be_early(const Request& request) noexcept {
  return (request.method == Method::get || request.method == Method::head) && !request.has_body() &&
         request.connect_protocol.empty() && !request.headers.has("upgrade");
}

/// What the request's path, host, method and length say: why it is refused, or which route serves it (nullptr: match_
/// tells what else there is to say). Starts the body either way.
[[gnu::always_inline]] inline Reject Dispatch::find_route(std::span<char> room) noexcept {
  const SiteOptions& o = site_.options();
  const Request& request = exchange_.request_;
  NormalisedPath path{Reject::none, request.path};
  if (request.form == TargetForm::origin || request.form == TargetForm::absolute)
    path = normalise_path(request.path, room);
  exchange_.path_ = path.path;
  Reject reason = path.reason;
  if (reason == Reject::none && !serves_host(o.hosts, request.host) &&
      !(o.address_hosts && is_address_host(request.host)))
    reason = Reject::misdirected;
  if (reason == Reject::none) {
    match_ = site_.router().match(request.method, request.host, path.path);
    if (match_.kind == RouteMatch::Kind::route) route_ = &site_.routes()[match_.index];
    if (match_.kind == RouteMatch::Kind::not_implemented) reason = Reject::unknown_method;
    if (match_.kind == RouteMatch::Kind::method_not_allowed) reason = Reject::method_not_allowed;
  }
  if (request.has_body()) [[unlikely]] {
    const std::uint64_t most = route_ != nullptr && route_->body_size ? *route_->body_size : o.body_size;
    if (const Reject body = exchange_.stream_.expect_body(most); body != Reject::none) {
      // An error of the request itself is told first, but what follows it cannot be had.
      exchange_.stream_.end_connection();
      if (reason == Reject::none) reason = body;
    }
  }
  if (reason == Reject::none && route_ != nullptr && route_->require_length && lacks_length(request))
    reason = Reject::length_required;
  if (request.early_data && reason == Reject::none && !may_be_early(request)) [[unlikely]]
    reason = Reject::too_early;
  return reason;
}

/// Memory runs short, and others are more important. It stays the route's: whoever watches the route shall see it.
void Dispatch::shed() noexcept {
  trace_.no_handler_yet();
  reason_ = Reject::memory;
  metric::count(metrics_.rejects[static_cast<std::size_t>(reason_)]);
  site_.options().pressure->count(route_->priority);
  chain_ = &site_.beside_[match_.index].refused;
}

/// A preflight asks whether another request may be sent. So it is for who would serve that one, if a filter of his
/// answers preflights: the route may have no OPTIONS (files, `methods`), or they may be another's (a route for
/// everything below "/"). Other preflights go where OPTIONS goes.
void Dispatch::find_preflight() noexcept {
  const Request& request = exchange_.request_;
  if (!request.headers.has("origin")) return;
  const std::string_view method = request.headers.find("access-control-request-method");
  const RouteMatch asked = site_.router().match(method_from(method), request.host, exchange_.path_);
  if (!asked.of_route || !site_.beside_[asked.index].preflights) return;
  MethodSet allow = match_.allow;
  if (route_ != nullptr) allow = site_.routes()[asked.index].spec.methods | MethodSet::of(Method::options);
  route_ = nullptr;
  match_ = asked;
  match_.kind = RouteMatch::Kind::options;
  match_.allow = allow;
}

/// What stands around an answer that no handler gives, when it is about a route.
const Site::Beside* Dispatch::beside() noexcept {
  if (!match_.of_route) return nullptr;
  exchange_.rest_ = match_.rest;
  exchange_.exact_route_ = match_.exact;
  exchange_.error_pages_ = site_.routes()[match_.index].error_pages;
  return &site_.beside_[match_.index];
}

/// Runs a handler or a filter and sees to it that a head was committed and the answer ended; else the connection is
/// lost, which is the error.
template <class F>
[[gnu::always_inline]] inline std::error_code Dispatch::guarded(const char* what, F&& serve) noexcept {
  std::error_code error;
  bool panicked = false;
  try {
    error = error_of(serve());
  } catch (...) {
    panicked = true;
    const runtime::Recovered thrown(std::current_exception());
    try {
      log_failure(what, "threw", thrown.what() + "; thrown at:" + thrown.trace());
    } catch (...) {
      log(LogLevel::error, "a handler threw, and memory to describe it is out");
    }
    metric::count(metrics_.panics);
  }
  if (!panicked && !error && exchange_.ended_) [[likely]]
    return {};
  return settle(what, error, panicked);
}

[[gnu::always_inline]] inline std::error_code Dispatch::last() noexcept {
  if (route_ != nullptr && reason_ == Reject::none) [[likely]] {
    const bool filtered = !chain_->empty();
    if (filtered || trace_.exists()) [[unlikely]]
      trace_.handler_begins(filtered);
    const std::error_code error = guarded("handler", [&] { return route_->handler->serve(exchange_); });
    if (filtered || trace_.exists()) [[unlikely]]
      trace_.handler_ends();
    return error;
  }
  return reason_ != Reject::none ? answer_refused() : answer_unrouted();
}

std::error_code Dispatch::run(std::span<char> room, std::int64_t begin) noexcept {
  static constexpr runtime::FiberName kNoRoute = "no route";
  Exchange& ex = exchange_;
  if (site_.options().tracer != nullptr) {
    trace_.begin(site_.options().tracer, traceparent_of(ex.request_), begin);
    ex.trace_ = &trace_;
  }
  reason_ = find_route(room);
  if (ex.request_.method == Method::options && reason_ == Reject::none) [[unlikely]]
    find_preflight();
  if (reason_ != Reject::none) [[unlikely]] {
    metric::count(metrics_.rejects[static_cast<std::size_t>(reason_)]);
    log_refusal(reason_, ex);
    trace_.no_handler_yet();
    route_ = nullptr;
    const Site::Beside* const beside = this->beside();
    chain_ = beside != nullptr ? &beside->refused : &site_.refused_;
  } else if (route_ == nullptr) {
    trace_.no_handler_yet();
    const Site::Beside* const beside = this->beside();
    chain_ = beside != nullptr ? &beside->unrouted : &site_.unrouted_;
    ex.deadline_ = Deadline::after(begin, site_.options().timeouts.request);
  } else {
    ex.rest_ = match_.rest;
    ex.exact_route_ = match_.exact;
    ex.error_pages_ = route_->error_pages;
    ex.deadline_ =
        Deadline::after(begin, route_->request_timeout ? *route_->request_timeout : site_.options().timeouts.request);
    chain_ = &site_.chains_[match_.index];
    if (const flow::Pressure* const p = site_.options().pressure; p != nullptr && p->sheds(route_->priority))
        [[unlikely]]
      shed();
  }
  if (metric::StatusCounters* const c = route_ != nullptr ? route_->counters : site_.options().metrics.unrouted)
    c->begin();
  runtime::Machine& machine = *runtime::Machine::current_machine();
  runtime::Fiber* const fiber = machine.current;
  fiber->labels.store(&chain_->label, std::memory_order_relaxed);  // what it points to is the Site's
  runtime::trace::begin_request(machine, (route_ != nullptr ? route_->trace_name : kNoRoute).text().data());
  const std::error_code error = chain_->empty() ? last() : first();
  fiber->labels.store(nullptr, std::memory_order_relaxed);
  ex.end_context();
  return error;
}

// ---------------------------------------------------------------------------------------------- the chain

Result<void> Next::operator()(Exchange& exchange) const {
  (void)FIBERD_BUG_IF(&dispatch_.exchange_ != &exchange);
  return as_result(dispatch_.next(at_));
}

std::error_code Dispatch::first() noexcept {
  trace_.no_handler_yet();
  return next(0);
}

std::error_code Dispatch::next(std::size_t at) noexcept {
  if (at != at_) {
    report_bug("a filter called next() twice");
    return std::make_error_code(std::errc::operation_not_permitted);
  }
  ++at_;
  if (at == chain_->size()) return last();
  return guarded("filter", [&] { return (*chain_)[at]->serve(exchange_, Next(*this, at + 1)); });
}

std::error_code Dispatch::answer_refused() noexcept {
  switch (reason_) {
    // These were understood, and the connection can go on.
    case Reject::misdirected:
    case Reject::too_early:
    case Reject::length_required: break;
    case Reject::memory: {
      // Whoever is turned away shall not hold buffers until his body has come.
      if (exchange_.request_.has_body()) exchange_.stream_.end_connection();
      const Field field{"Retry-After", flow::Pressure::kRetryAfter};
      return error_of(exchange_.respond_error(503, {&field, 1}));
    }
    case Reject::method_not_allowed: {
      const AllowValue allow(match_.allow);
      const Field field{"Allow", allow.text()};
      return error_of(exchange_.respond_error(405, {&field, 1}));
    }
    // What an unknown method means for the message's content nobody knows (as CONNECT shows).
    default: exchange_.stream_.end_connection();
  }
  return error_of(exchange_.respond_error(status_of(reason_)));
}

std::error_code Dispatch::answer_unrouted() noexcept {
  if (match_.kind == RouteMatch::Kind::add_slash) return error_of(redirect_to_slash(exchange_));
  if (match_.kind != RouteMatch::Kind::options) return error_of(exchange_.respond_error(404));
  const AllowValue allow(match_.allow);
  const Field field{"Allow", allow.text()};
  return error_of(exchange_.respond(204, {}, {}, {&field, 1}));
}

// ---------------------------------------------------------------------------------------------- failures

std::string_view Dispatch::label() const noexcept {
  if (route_ == nullptr) return "no route";
  return route_->label.empty() ? std::string_view(route_->spec.path) : std::string_view(route_->label);
}

std::error_code Dispatch::settle(const char* what, std::error_code error, bool panicked) noexcept {
  Exchange& ex = exchange_;
  ServerStream& stream = ex.stream_;
  const Trouble trouble = stream.trouble();
  if (!ex.settled_) {
    // Decided once: the clock goes on.
    const bool late = error && is_late(error);
    // What the client, the request's deadline or a stop brought about is counted where it was found.
    const bool others = trouble.refused != Reject::none || (trouble.late && error == std::errc::timed_out) ||
                        trouble.lost || trouble.client_gone || trouble.stopping ||
                        (error == std::errc::connection_aborted && trouble.unfinished);
    const bool own = error && !late && !others;
    if (own) log_error(what, error);
    if (!ex.ended_ && !trouble.lost) {
      ex.settled_ = true;
      if (ex.committed()) {
        // The client must see that the body is incomplete: no last chunk, and the connection closes.
        stream.end_connection();
        ex.begun_ = false;  // and no filter ends it in its place
        if (!panicked && !error) report_bug("a handler did not end its answer");
        if (panicked || !error || own || late) metric::count(metrics_.closed_truncated);
      } else {
        try {
          (void)ex.respond_error(panicked ? 500 : status_of_failure(error, late, trouble));
        } catch (...) {  // no memory for what filters would change of it
          stream.end_connection();
        }
      }
    }
  }
  return ex.ended_ ? std::error_code() : std::make_error_code(std::errc::connection_aborted);
}

/// The request's own deadline has ended it, not one that the handler met elsewhere.
bool Dispatch::is_late(std::error_code error) const noexcept {
  const Deadline deadline = exchange_.deadline_;
  return error == std::errc::timed_out && !deadline.is_never() && deadline.ns() <= monotonic_now();
}

/// For who returned without an answer.
unsigned Dispatch::status_of_failure(std::error_code error, bool late, const Trouble& trouble) noexcept {
  if (!error) {
    report_bug(exchange_.begun_ ? "a handler did not end its answer" : "a handler returned without an answer");
    return 500;
  }
  exchange_.stream_.end_connection();
  if (trouble.refused != Reject::none) return status_of(trouble.refused);
  if (trouble.late) return error == std::errc::timed_out ? 408 : 500;
  if (late) {
    metric::count(metrics_.request_timeouts);  // the handler gave up at its deadline
    return 503;
  }
  // The body ended before its length: the client closed, or half-closed and may still read why.
  if (error == std::errc::connection_aborted && trouble.unfinished) return 400;
  // Neither another's deadline nor the stop's is the request's fault: it may be asked again.
  return error == std::errc::timed_out || trouble.stopping ? 503 : 500;
}

void Dispatch::log_error(const char* what, std::error_code error) const noexcept {
  try {
    log_failure(what, "failed", error.message());
  } catch (...) {
    log(LogLevel::error, "a handler failed, and memory to describe it is out");
  }
}

void Dispatch::log_failure(const char* what, const char* how, std::string_view detail) const noexcept {
  try {
    log(LogLevel::error, std::string(what) + " of " + std::string(label()) + " " + how + ": " + std::string(detail));
  } catch (...) {
    log(LogLevel::error, "a handler failed, and memory to describe it is out");
  }
}

}  // namespace fiberd::http

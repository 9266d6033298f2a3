#pragma once
// Dispatch: one request on its way through a Site: normal form of the path, route, filters, handler; and what is made
// of a handler or a filter that throws or fails. Inside of core/http alone.
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>

#include "core/http/exchange.hpp"
#include "core/http/filter.hpp"
#include "core/http/site/request_trace.hpp"
#include "core/http/site/router.hpp"
#include "core/http/site/site.hpp"
#include "core/trace/request_span.hpp"

namespace fiberd::http {

class Dispatch {
 public:
  Dispatch(const Site& site, Exchange& exchange, const ServerMetrics& metrics) noexcept
      : site_(site), exchange_(exchange), metrics_(metrics) {}

  /// Tells the counters of the route that the request has begun; whoever accounts for it tells them its end.
  /// `room` needs the size of the longest target. `begin`: monotonic ns, when the request began. An error: the
  /// connection is lost. On a fiber.
  [[nodiscard]] std::error_code run(std::span<char> room, std::int64_t begin) noexcept;
  // Afterwards: which route served it, if one did, and why it was refused.
  [[nodiscard]] const Route* route() const noexcept { return route_; }
  [[nodiscard]] Reject reason() const noexcept { return reason_; }

  /// The request is over. True: it is traced and kept, and end_trace() is to be told what it was.
  [[nodiscard]] static bool keeps_trace(const Exchange& exchange, unsigned status, std::uint64_t duration) noexcept {
    return exchange.trace_ != nullptr && exchange.trace_->settle(status, duration);
  }
  static void end_trace(const Exchange& exchange, const Route* route, const TraceEnd& end) noexcept {
    end_request_trace(exchange, *exchange.trace_, route, end);
  }

  /// For the filters that come with the house.
  static ServerStream& stream_of(Exchange& exchange) noexcept { return exchange.stream_; }

 private:
  friend class Next;
  [[nodiscard]] Reject find_route(std::span<char> room) noexcept;
  void find_preflight() noexcept;
  void shed() noexcept;
  [[nodiscard]] const Site::Beside* beside() noexcept;
  [[nodiscard]] std::error_code first() noexcept;
  [[nodiscard]] std::error_code next(std::size_t at) noexcept;
  [[nodiscard]] std::error_code last() noexcept;
  [[nodiscard]] std::error_code answer_refused() noexcept;
  [[nodiscard]] std::error_code answer_unrouted() noexcept;
  template <class F>
  [[nodiscard]] std::error_code guarded(const char* what, F&& serve) noexcept;
  [[nodiscard]] std::error_code settle(const char* what, std::error_code error, bool panicked) noexcept;
  [[nodiscard]] bool is_late(std::error_code error) const noexcept;
  [[nodiscard]] unsigned status_of_failure(std::error_code error, bool late, const Trouble& trouble) noexcept;
  void log_failure(const char* what, const char* how, std::string_view detail) const noexcept;
  void log_error(const char* what, std::error_code error) const noexcept;
  [[nodiscard]] std::string_view label() const noexcept;

  const Site& site_;
  Exchange& exchange_;
  const ServerMetrics& metrics_;
  const Route* route_ = nullptr;
  const Site::Chain* chain_ = nullptr;
  std::size_t at_ = 0;  // of the chain, what comes next
  Reject reason_ = Reject::none;
  RouteMatch match_{};
  trace::RequestSpan trace_;
};

}  // namespace fiberd::http

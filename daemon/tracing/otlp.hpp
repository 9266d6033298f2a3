#pragma once
// What is sent to a collector of OTLP/HTTP, and what it answers (opentelemetry-proto 1.x; OTLP 1.x, "OTLP/HTTP").
#include <cstdint>
#include <string>
#include <string_view>

#include "config/tracing.hpp"
#include "core/trace/span_queue.hpp"

namespace fiberd::daemon {

/// What stands before and behind the spans of every batch.
struct OtlpEnvelope {
  std::string before;
  std::string behind;
};
/// Of this process: the service's name and the resource of `config`, its version, host and process. Throws
/// std::bad_alloc.
[[nodiscard]] OtlpEnvelope make_envelope(const config::TracingConfig& config);
/// An ExportTraceServiceRequest with the spans of `batch`. Throws std::bad_alloc.
[[nodiscard]] std::string write_request(const OtlpEnvelope& envelope, const trace::SpanQueue::List& batch);

/// What a collector says beside its status 200.
struct OtlpAnswer {
  bool understood = true;            ///< false: it is no ExportTraceServiceResponse
  std::uint64_t rejected_spans = 0;  ///< of the batch; it does not want to see them again
  std::string message{};             ///< for people, as it came: anybody's text
};
[[nodiscard]] OtlpAnswer read_answer(std::string_view body) noexcept;

}  // namespace fiberd::daemon

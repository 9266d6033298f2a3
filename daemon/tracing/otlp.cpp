#include "daemon/tracing/otlp.hpp"

#include <unistd.h>

#include <array>
#include <boost/json.hpp>
#include <charconv>
#include <exception>

#include "core/runtime/runtime.hpp"
#include "core/trace/span_text.hpp"
#include "daemon/version.hpp"

namespace fiberd::daemon {

namespace json = boost::json;

OtlpEnvelope make_envelope(const config::TracingConfig& config) {
  OtlpEnvelope made;
  std::string& text = made.before;
  text = R"({"resourceSpans":[{"resource":{"attributes":[)";
  trace::append_attribute(text, "service.name", config.service_name);
  const auto add = [&](std::string_view key, const trace::Value& value) {
    for (const auto& [own, unused] : config.resource)
      if (own == key) return;  // who runs it knows better
    text += ',';
    trace::append_attribute(text, key, value);
  };
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) == 0) add("host.name", host.data());
  add("service.version", kVersion);
  add("process.pid", ::getpid());
  add("telemetry.sdk.name", "fiberd");
  add("telemetry.sdk.language", "cpp");
  add("telemetry.sdk.version", kVersion);
  for (const auto& [key, value] : config.resource) {
    text += ',';
    trace::append_attribute(text, key, value);
  }
  text += R"(]},"scopeSpans":[{"scope":{"name":"fiberd","version":")";
  text.append(kVersion).append(R"("},"spans":[)");
  made.behind = "]}]}]}";
  return made;
}

static constexpr std::size_t kUsual = 640;  // bytes of one of a request's two spans
static constexpr unsigned kTurn = 16;

std::string write_request(const OtlpEnvelope& envelope, const trace::SpanQueue::List& batch) {
  std::size_t size = envelope.before.size() + envelope.behind.size();
  for (const auto* node = batch.first; node != nullptr; node = node->next)
    size += node->writer == nullptr ? node->text.size() + 1 : std::size_t{node->spans} * kUsual;
  std::string out;
  out.reserve(size);
  out = envelope.before;
  unsigned turn = 0;
  for (const auto* node = batch.first; node != nullptr; node = node->next) {
    if (node != batch.first) out += ',';
    node->write(out);
    // Some hundred spans take as long as some hundred requests: those come between.
    if (++turn % kTurn == 0 && runtime::on_fiber()) runtime::yield();
  }
  out += envelope.behind;
  return out;
}

/// A 64-bit number is a text in Protobuf's JSON; some collectors write a number.
static bool read_count(const json::value& value, std::uint64_t& count) {
  if (const json::string* const text = value.if_string()) {
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), count);
    return error == std::errc{} && end == text->data() + text->size();
  }
  if (const std::int64_t* const number = value.if_int64(); number != nullptr && *number >= 0) {
    count = static_cast<std::uint64_t>(*number);
    return true;
  }
  return false;
}

OtlpAnswer read_answer(std::string_view body) noexcept {
  OtlpAnswer answer;
  if (body.empty()) return answer;
  try {
    json::parse_options options;
    options.max_depth = 8;
    json::error_code error;
    const json::value all = json::parse({body.data(), body.size()}, error, {}, options);
    const json::object* const top = error ? nullptr : all.if_object();
    if (top == nullptr) return {false, 0, {}};
    const json::value* const partial = top->if_contains("partialSuccess");
    if (partial == nullptr || partial->is_null()) return answer;
    const json::object* const said = partial->if_object();
    if (said == nullptr) return {false, 0, {}};
    if (const json::value* const count = said->if_contains("rejectedSpans"))
      answer.understood = read_count(*count, answer.rejected_spans);
    if (const json::value* const message = said->if_contains("errorMessage");
        message != nullptr && message->is_string())
      answer.message.assign(message->get_string().data(), message->get_string().size());
    return answer;
  } catch (const std::exception&) {
    return {false, 0, {}};
  }
}

}  // namespace fiberd::daemon

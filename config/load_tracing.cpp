#include "config/load_tracing.hpp"

#include <charconv>
#include <optional>
#include <string>
#include <string_view>

#include "config/load_client_tls.hpp"
#include "config/text_rules.hpp"
#include "config/urls.hpp"

namespace fiberd::config {

namespace {

std::optional<double> parse_share(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= 0 && value <= 1)) return std::nullopt;
  return value;
}

double read_ratio(const Reader& sample) {
  const std::string text = sample.text("ratio");
  if (const std::optional<double> share = parse_share(text)) return *share;
  sample.report("ratio", "\"" + text + "\" is not a share of all: 0 … 1, e.g. 0.01");
  return 0;
}

void check_headers_file(const Reader& r, const std::string& path) {
  if (const std::string wrong = check_file_path(path); !wrong.empty())
    r.report("headers_file", wrong);
  else if (const std::string_view variable = find_variable(path); !variable.empty())
    r.report("headers_file", unknown_variable(variable, "write the path itself"));
}

void check_resource(const Reader& r, const TracingConfig& t) {
  static constexpr std::size_t kMost = 32;
  static constexpr std::size_t kLongest = 1024;
  for (std::size_t i = 0; i < t.resource.size(); ++i) {
    const auto& [key, value] = t.resource[i];
    if (key == "service.name")
      r.report("resource", i, "is said by tracing.service_name");
    else if (key.empty() || key.size() > 128)
      r.report("resource", i, "a key has 1 … 128 bytes");
    else if (value.size() > kLongest)
      r.report("resource", i, "is longer than 1024 bytes");
  }
  if (t.resource.size() > kMost) r.report("resource", "at most " + std::to_string(kMost) + " are allowed");
}

}  // namespace

TracingConfig read_tracing(const Reader& r) {
  TracingConfig t;
  t.endpoint = r.text("endpoint");
  const Reader sample = r.section("sample");
  t.ratio = read_ratio(sample);
  t.parent = sample.boolean("parent");
  t.errors = sample.choice("errors") == 0;
  t.slow = sample.duration("slow");
  t.per_second = static_cast<std::uint32_t>(sample.number("per_second"));
  t.spans = static_cast<std::uint32_t>(sample.number("spans"));
  t.service_name = r.text("service_name");
  t.resource = r.pairs("resource");
  t.headers_file = r.text("headers_file");
  t.headers_file_at = r.place("headers_file");
  const Reader batch = r.section("batch");
  t.batch_spans = static_cast<std::uint32_t>(batch.number("spans"));
  t.batch_delay = batch.duration("delay");
  t.queue = r.number("queue");
  t.timeout = r.duration("timeout");
  if (!t.on()) {
    // Written for something, which it would not do.
    if (const std::vector<std::string> keys = r.keys(); !keys.empty())
      r.report(keys.front(), "has no effect: tracing.endpoint is not set, so nothing is traced");
    return t;
  }
  if (const std::string wrong = check_http_url(t.endpoint); !wrong.empty()) r.report("endpoint", wrong);
  t.tls = read_client_tls(r.section("tls"), t.endpoint, "tracing.endpoint");
  if (t.service_name.empty() || t.service_name.size() > 128) r.report("service_name", "has 1 … 128 bytes");
  if (!t.headers_file.empty()) check_headers_file(r, t.headers_file);
  check_resource(r, t);
  if (t.ratio == 0 && !t.parent && !t.errors && t.slow.count() == 0)
    sample.report("ratio",
                  "nothing is ever sampled: ratio is 0, parent is false, errors are never kept and no request "
                  "is slow");
  return t;
}

}  // namespace fiberd::config

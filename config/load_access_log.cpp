#include "config/load_access_log.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>

#include "config/log_fields.hpp"
#include "config/text_rules.hpp"

namespace fiberd::config {

namespace {

std::optional<double> parse_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// "0.1", "1/10".
double read_sample(const Reader& r) {
  const std::string text = r.text("sample");
  const std::size_t slash = text.find('/');
  const std::optional<double> above = parse_number(std::string_view(text).substr(0, slash));
  const std::optional<double> below =
      slash == std::string::npos ? std::optional(1.0) : parse_number(std::string_view(text).substr(slash + 1));
  const double share = above && below && *below > 0 ? *above / *below : 0;
  if (share > 0 && share <= 1) return share;
  r.report("sample", "\"" + text + "\" is not a share of all: above 0, at most 1, e.g. 0.1 or 1/10" +
                         (share > 1 ? "" : "; format: off writes no lines"));
  return 1;
}

std::vector<std::pair<unsigned, unsigned>> read_only(const Reader& r) {
  std::vector<std::pair<unsigned, unsigned>> ranges;
  const std::vector<std::string> texts = r.strings("only");
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::string& text = texts[i];
    unsigned status = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), status);
    const bool whole = error == std::errc{} && end == text.data() + text.size();
    if (text == "errors")
      ranges.emplace_back(400, 599);
    else if (text.size() == 3 && text.ends_with("xx") && text[0] >= '1' && text[0] <= '5')
      ranges.emplace_back((text[0] - '0') * 100, (text[0] - '0') * 100 + 99);
    else if (whole && text.size() == 3 && status >= 100 && status <= 599)
      ranges.emplace_back(status, status);
    else
      r.report("only", i, "\"" + text + "\" is not allowed; errors, a class like 5xx, or a status like 404");
  }
  if (r.has("only") && texts.empty()) r.report("only", "is empty; format: off writes no lines");
  return ranges;
}

}  // namespace

AccessLogConfig read_access_log(const Reader& r, const AccessLogConfig& before) {
  AccessLogConfig a = before;
  if (r.has("format")) a.format = static_cast<AccessLogFormat>(r.choice("format"));
  if (r.has("output")) {
    a.output = r.text("output");
    a.output_at = r.place("output");
    if (const std::string wrong = check_file_path(a.output); !wrong.empty())
      r.report("output", wrong + "; stdout, stderr or a path");
    else if (const std::string_view variable = find_variable(a.output); !variable.empty())
      r.report("output", unknown_variable(variable, "write the path itself"));
    else if (a.output == "auto" || a.output == "journal")
      r.report("output", "is for log.output alone: an access log goes to stdout, stderr or a path");
    else if (a.output == "off")
      r.report("output", "would be a file of that name; format: off turns the log off");
  }
  if (r.has("template")) {
    a.line = r.text("template");
    a.line_at = r.place("template");
    std::vector<TemplatePart> parts;
    if (const std::string wrong = parse_template(a.line, kLogFields, parts); !wrong.empty())
      r.report("template", wrong);
    else if (has_control(a.line))
      r.report("template", "is one line, without control characters");
    else if (parts.empty())
      r.report("template", "is empty");
    if (a.format != AccessLogFormat::written) r.report("template", "is for format: template");
  } else if (a.format == AccessLogFormat::written && a.line.empty()) {
    r.report("format", "template needs the key template with a line's fields, e.g. \"${client} ${status}\"");
  }
  if (a.format != AccessLogFormat::written) a.line.clear();  // the listener's
  if (r.has("sample")) a.sample = read_sample(r);
  if (r.has("only")) a.only = read_only(r);
  if (r.has("not_paths")) {
    a.not_paths = r.strings("not_paths");
    for (std::size_t i = 0; i < a.not_paths.size(); ++i)
      if (const std::string wrong = check_route_path(a.not_paths[i]); !wrong.empty()) r.report("not_paths", i, wrong);
  }
  // Lines of a log that nobody asked for would go nowhere without a word.
  if (a.format == AccessLogFormat::off && !r.has("format"))
    for (const std::string_view key : {std::string_view("output"), std::string_view("sample"), std::string_view("only"),
                                       std::string_view("not_paths")})
      if (r.has(key)) r.report(key, "is for a format, and none is set: format: common, or json");
  return a;
}

}  // namespace fiberd::config

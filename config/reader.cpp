#include "config/reader.hpp"

#include <algorithm>
#include <charconv>

#include "config/environment.hpp"
#include "core/base/bug.hpp"
#include "core/base/text.hpp"
#include "core/base/units.hpp"

namespace fiberd::config {

static std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t at = text.find(separator);
    parts.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

std::string nearest(std::string_view name, const std::vector<std::string>& names) {
  if (name.size() > 64) return {};
  std::string best;
  std::size_t least = std::max<std::size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : names) {
    if (name.size() >= 3 && candidate.starts_with(name)) return candidate;
    const std::size_t d = edit_distance(name, candidate);
    if (d < least) {
      least = d;
      best = candidate;
    }
  }
  return best;
}

Reader::Reader(const Tree* node, const Tree* place, std::string pattern, std::string path,
               std::vector<Diagnostic>& diagnostics)
    : node_(node),
      place_(node != nullptr ? node : place),
      pattern_(std::move(pattern)),
      path_(std::move(path)),
      diagnostics_(diagnostics) {
  if (node_ != nullptr && node_->kind == Tree::Kind::null) node_ = nullptr;
  if (node_ == nullptr) return;
  if (node_->kind != Tree::Kind::mapping) {
    report("", "must be a mapping of keys");
    node_ = nullptr;
    return;
  }
  check_keys();
}

static std::string join(const std::string& prefix, std::string_view key) {
  return prefix.empty() ? std::string(key) : prefix + "." + std::string(key);
}

void Reader::check_keys() const {
  for (const Tree::Entry& e : node_->entries) {
    const Row* const r = find_row(join(pattern_, e.key));
    if (r != nullptr && r->available) continue;
    std::string message;
    if (r != nullptr) {
      message = "is not available in this version";
    } else {
      std::vector<std::string> names;
      for (const Row& candidate : schema()) {
        const std::string prefix = pattern_.empty() ? "" : pattern_ + ".";
        if (!candidate.available || !candidate.path.starts_with(prefix)) continue;
        const std::string_view rest = candidate.path.substr(prefix.size());
        if (rest.find_first_of(".[") == std::string_view::npos) names.emplace_back(rest);
      }
      message = "unknown key";
      if (const std::string near = nearest(e.key, names); !near.empty()) {
        message += "; did you mean " + near + "?";
      } else if (!names.empty()) {
        message += "; known here:";
        for (const std::string& name : names) message += " " + name;
      } else {
        message += "; nothing can be set here";
      }
    }
    diagnostics_.push_back({e.value.source, e.line, e.column, join(path_, e.key), message});
  }
}

const Row& Reader::row(std::string_view key) const {
  const Row* const r = find_row(join(pattern_, key));
  if (r == nullptr) {
    report_bug("a configuration key is read that the schema does not know");
    static constexpr Row kNone{.path = "", .type = Type::string, .fallback = ""};
    return kNone;
  }
  return *r;
}

const Tree* Reader::node(std::string_view key) const noexcept {
  const Tree* const n = node_ != nullptr ? node_->find(key) : nullptr;
  return n != nullptr && n->kind != Tree::Kind::null ? n : nullptr;
}

bool Reader::has(std::string_view key) const {
  if (node(key) != nullptr) return true;
  if (node_ == nullptr || node_->find(key) == nullptr) return false;
  const Row* const r = find_row(join(pattern_, key));
  return r != nullptr && (r->type == Type::section || !r->available);
}

Place Reader::place(std::string_view key) const {
  const Tree* const n = node_ != nullptr && !key.empty() ? node_->find(key) : nullptr;
  const Tree* const at = n != nullptr ? n : place_;
  return {at != nullptr ? at->source : std::string(), at != nullptr ? at->line : 0, at != nullptr ? at->column : 0,
          key.empty() ? path_ : join(path_, key)};
}

Place Reader::place(std::string_view key, std::size_t index) const {
  Place at = place(key);
  const Tree* const n = node(key);
  if (n == nullptr) return at;  // a default's
  std::size_t left = index;     // strings() and pairs() leave out what is none
  for (std::size_t i = 0; i < n->items.size(); ++i) {
    const Tree& item = n->items[i];
    if (item.kind != Tree::Kind::scalar || left-- != 0) continue;
    return {item.source, item.line, item.column, at.key + "[" + std::to_string(i) + "]"};
  }
  for (const Tree::Entry& entry : n->entries) {
    if (entry.value.kind != Tree::Kind::scalar || left-- != 0) continue;
    return {entry.value.source, entry.line, entry.column, join(at.key, entry.key)};
  }
  return at;
}

void Reader::report(std::string_view key, std::string message) const {
  diagnostics_.push_back(diagnostic_at(place(key), std::move(message)));
}
void Reader::report(std::string_view key, std::size_t index, std::string message) const {
  diagnostics_.push_back(diagnostic_at(place(key, index), std::move(message)));
}

std::vector<std::string> Reader::keys() const {
  std::vector<std::string> names;
  if (node_ != nullptr)
    for (const Tree::Entry& e : node_->entries) names.push_back(e.key);
  return names;
}

PlacedTexts Reader::placed(std::string_view key) const {
  PlacedTexts out{strings(key), {}};
  for (std::size_t i = 0; i < out.texts.size(); ++i) out.at.push_back(place(key, i));
  return out;
}

Reader Reader::section(std::string_view key) const {
  return {node_ != nullptr ? node_->find(key) : nullptr, place_, join(pattern_, key), join(path_, key), diagnostics_};
}

std::size_t Reader::list(std::string_view key, const std::function<void(Reader&)>& each) const {
  const Tree* const n = node(key);
  if (n == nullptr) return 0;
  if (n->kind != Tree::Kind::sequence) {
    report(key, "must be a list");
    return 1;  // of what was meant to be one
  }
  for (std::size_t i = 0; i < n->items.size(); ++i) {
    const std::string path = join(path_, key) + "[" + std::to_string(i) + "]";
    if (n->items[i].kind == Tree::Kind::null)
      diagnostics_.push_back({n->items[i].source, n->items[i].line, n->items[i].column, path, "is empty"});
    Reader item(&n->items[i], place_, join(pattern_, key) + "[]", path, diagnostics_);
    if (item.node_ != nullptr) each(item);
  }
  return n->items.size();
}

/// The value as it was written, or the default; nullopt when it is wrong (reported) or there is none.
std::string Reader::expanded(const Row& r, const Tree& scalar, const Place& at) const {
  if (scalar.scalar.find('$') == std::string::npos) return scalar.scalar;
  std::string out;
  if (std::string wrong = expand_environment(scalar.scalar, r.variables, out); !wrong.empty()) {
    Diagnostic d = diagnostic_at(at, std::move(wrong));
    d.decides = true;
    diagnostics_.push_back(std::move(d));
    return scalar.scalar;
  }
  return out;
}

std::optional<std::string> Reader::scalar(std::string_view key, const Row& r) const {
  const Tree* const n = node(key);
  if (n == nullptr) return r.fallback.empty() ? std::nullopt : std::optional<std::string>(r.fallback);
  if (n->kind == Tree::Kind::scalar) return expanded(r, *n, place(key));
  report(key, "must be a single value (" + std::string(to_string(r.type)) + ")");
  return std::nullopt;
}

/// Whether it would be a value if it were not that large, or negative: then its form is not what is wrong.
template <class Parse>
static bool has_good_form(std::string_view text, Parse parse) {
  static constexpr std::string_view kDigits = "0123456789";
  if (text.starts_with('-')) text.remove_prefix(1);
  if (text.empty() || kDigits.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(std::min(text.find_first_not_of(kDigits), text.size()));
  return parse("1" + std::string(text)).has_value();
}

static std::string is_out_of_range(const std::string& value, const std::string& allowed) {
  return value + " is out of range; allowed: " + allowed;
}

std::uint64_t Reader::number(std::string_view key) const {
  const Row& r = row(key);
  const std::optional<std::string> value = scalar(key, r);
  if (!value) return 0;
  const bool automatic = r.type == Type::auto_integer || r.type == Type::auto_bytes;
  if (automatic && *value == "auto") return 0;
  const bool bytes = r.type == Type::bytes || r.type == Type::auto_bytes;
  const auto parse = [&](std::string_view text) -> std::optional<std::uint64_t> {
    if (bytes) return parse_bytes(text);
    std::uint64_t n = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), n, r.type == Type::octal ? 8 : 10);
    return error == std::errc{} && end == text.data() + text.size() ? std::optional(n) : std::nullopt;
  };
  const std::optional<std::uint64_t> parsed = parse(*value);
  auto show = [&](std::uint64_t n) {
    if (bytes) return format_bytes(n);
    if (r.type != Type::octal) return std::to_string(n);
    char text[32];
    std::snprintf(text, sizeof text, "0%llo", static_cast<unsigned long long>(n));
    return std::string(text);
  };
  const std::string allowed = (automatic ? "auto or " : "") + show(r.least) + " … " + show(r.most);
  if (!parsed) {
    const bool octal = r.type == Type::octal;
    report(key, !octal && has_good_form(*value, parse) ? is_out_of_range(*value, allowed)
                                                       : "\"" + *value + "\" is no " +
                                                             (bytes   ? "size with a unit like 16KiB or 1MiB"
                                                              : octal ? "number of octal digits"
                                                                      : "whole number, written in digits") +
                                                             "; allowed: " + allowed);
    return 0;
  }
  if (*parsed < r.least || *parsed > r.most) report(key, is_out_of_range(*value, allowed));
  return *parsed;
}

std::uint64_t Reader::rate(std::string_view key) const {
  const Row& r = row(key);
  const std::optional<std::string> value = scalar(key, r);
  if (!value) return 0;
  const std::string allowed = format_rate(r.least) + " … " + format_rate(r.most);
  const std::optional<std::uint64_t> parsed = parse_rate(*value);
  if (!parsed) {
    report(key, has_good_form(*value, parse_rate)
                    ? is_out_of_range(*value, allowed)
                    : "\"" + *value + "\" is not a rate like 100/s, 30/m or 5/h; allowed: " + allowed);
    return 0;
  }
  if (*parsed < r.least || *parsed > r.most) report(key, is_out_of_range(*value, allowed));
  return *parsed;
}

std::chrono::nanoseconds Reader::duration(std::string_view key) const {
  const Row& r = row(key);
  const std::optional<std::string> value = scalar(key, r);
  if (!value) return {};
  const std::string allowed =
      format_duration(std::chrono::nanoseconds(r.least)) + " … " + format_duration(std::chrono::nanoseconds(r.most));
  const auto parsed = parse_duration(*value);
  if (!parsed) {
    report(key, has_good_form(*value, parse_duration)
                    ? is_out_of_range(*value, allowed)
                    : "\"" + *value + "\" is not a duration with a unit like 500ms, 10s or 1m; allowed: " + allowed);
    return {};
  }
  const auto ns = static_cast<std::uint64_t>(parsed->count());
  if (ns < r.least || ns > r.most) report(key, is_out_of_range(*value, allowed));
  return *parsed;
}

bool Reader::boolean(std::string_view key) const {
  const std::optional<std::string> value = scalar(key, row(key));
  if (!value) return false;
  if (*value != "true" && *value != "false") report(key, "\"" + *value + "\" is neither true nor false");
  return *value == "true";
}

std::string Reader::text(std::string_view key) const { return scalar(key, row(key)).value_or(""); }

unsigned Reader::choice(std::string_view key) const {
  const Row& r = row(key);
  const std::optional<std::string> value = scalar(key, r);
  if (!value) return 0;
  const std::vector<std::string> choices = split(r.choices, '|');
  const auto it = std::find(choices.begin(), choices.end(), *value);
  const std::vector<std::string> later = split(r.later, '|');
  const auto is_later = [&](const std::string& c) { return std::find(later.begin(), later.end(), c) != later.end(); };
  if (it != choices.end()) {
    if (is_later(*it)) report(key, *it + " is not available in this version");
    return static_cast<unsigned>(it - choices.begin());
  }
  std::string message = "\"" + *value + "\" is not allowed; one of:";
  for (const std::string& c : choices)
    if (!is_later(c)) message += " " + c;
  if (const std::string near = nearest(*value, choices); !near.empty()) message += "; did you mean " + near + "?";
  report(key, message);
  return 0;
}

std::vector<std::string> Reader::strings(std::string_view key) const {
  const Row& r = row(key);
  std::vector<std::string> out;
  const Tree* const n = node(key);
  if (n == nullptr) {
    // Defaults of lists are written as in YAML: [a, b].
    std::string_view text = r.fallback;
    if (text.size() > 2)
      for (std::string part : split(text.substr(1, text.size() - 2), ',')) {
        part.erase(0, part.find_first_not_of(' '));
        out.push_back(std::move(part));
      }
    return out;
  }
  if (r.type == Type::texts && n->kind == Tree::Kind::scalar) return {expanded(r, *n, place(key))};
  if (n->kind != Tree::Kind::sequence) {
    report(key, r.type == Type::texts ? "must be a string, or a list of strings: [a, b]"
                                      : "must be a list of strings: [a, b]");
    return out;
  }
  for (const Tree& item : n->items) {
    if (item.kind == Tree::Kind::scalar)
      out.push_back(expanded(r, item, place(key, out.size())));
    else
      diagnostics_.push_back({item.source, item.line, item.column, join(path_, key), "must be a string"});
  }
  return out;
}

std::vector<std::pair<std::string, std::string>> Reader::pairs(std::string_view key) const {
  const Row& r = row(key);
  std::vector<std::pair<std::string, std::string>> out;
  const Tree* const n = node(key);
  if (n == nullptr) return out;
  if (n->kind != Tree::Kind::mapping) {
    report(key, "must be a mapping of strings: {name: value}");
    return out;
  }
  for (const Tree::Entry& e : n->entries) {
    if (e.value.kind == Tree::Kind::scalar)
      out.emplace_back(e.key, expanded(r, e.value, place(key, out.size())));
    else
      diagnostics_.push_back({e.value.source, e.line, e.column, join(join(path_, key), e.key), "must be a string"});
  }
  return out;
}

}  // namespace fiberd::config

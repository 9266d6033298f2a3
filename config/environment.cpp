#include "config/environment.hpp"

#include <algorithm>
#include <cstdlib>

#include "core/base/characters.hpp"
#include "core/base/utf8.hpp"
#include "core/base/variable_names.hpp"

namespace fiberd::config {

namespace {

constexpr bool is_upper(char c) noexcept { return ascii::is_upper(c) || c == '_'; }

/// The end of the environment's name at the beginning of `text`; 0: another's variable begins there.
std::size_t end_of_name(std::string_view text) noexcept {
  if (text.empty() || !is_upper(text.front())) return 0;
  std::size_t end = 1;
  while (end < text.size() && (is_upper(text[end]) || ascii::is_digit(text[end]))) ++end;
  // ${Name} is none, and told where it stands.
  return end < text.size() && ascii::is_lower(text[end]) ? 0 : end;
}

void append(std::string_view value, bool is_template, std::string& out) {
  for (const char c : value) out.append(is_template && c == '$' ? 2 : 1, c);
}

std::string no_variable(std::string_view text, const std::string& name) {
  return "\"" + std::string(text) + "\" is no variable: write ${" + name + "} or ${" + name + ":-default}";
}

std::string not_set(const std::string& name) {
  return "the environment has no " + name + "; set it, or write ${" + name + ":-default} ($${ is ${ as text)";
}

}  // namespace

std::string expand_environment(std::string_view text, bool is_template, std::string& out,
                               bool (*secret)(std::string_view name)) {
  out.clear();
  std::string wrong;
  for (std::size_t i = 0; i < text.size();) {
    const std::string_view rest = text.substr(i);
    if (is_template && rest.starts_with("$$")) {
      out += "$$";
      i += 2;
      continue;
    }
    if (rest.starts_with("$${")) {
      out += "${";
      i += 3;
      continue;
    }
    const std::size_t end = rest.starts_with("${") ? end_of_name(rest.substr(2)) : 0;
    if (end == 0) {
      out += text[i++];
      continue;
    }
    const std::string name(rest.substr(2, end));
    const std::string_view behind = rest.substr(2 + end);
    const std::size_t close = behind.find('}');
    if (close == std::string_view::npos) {
      add_complaint(wrong, "${" + name + " without its }");
      return wrong;
    }
    i += 2 + end + close + 1;
    const bool has_default = behind.starts_with(":-");
    const std::string_view fallback = has_default ? behind.substr(2, close - 2) : std::string_view();
    const char* const set = std::getenv(name.c_str());
    const std::string_view value = set != nullptr ? std::string_view(set) : std::string_view();
    if (close != 0 && !has_default) {
      add_complaint(wrong, no_variable(rest.substr(0, 2 + end + close + 1), name));
    } else if (fallback.find("${") != std::string_view::npos) {
      add_complaint(wrong, "the default of ${" + name + "} is text: nothing is replaced in it");
    } else if (set == nullptr && !has_default) {
      add_complaint(wrong, not_set(name));
    } else if (!is_utf8(value)) {
      add_complaint(wrong, "what the environment has as " + name + " is not UTF-8 text");
    } else {
      const bool hidden = secret != nullptr && secret(name);
      append(hidden ? kMask : value.empty() ? fallback : value, is_template, out);
      if (out.size() > kMaxValue) {
        add_complaint(wrong, "is longer than " + std::to_string(kMaxValue / 1024) + " KiB with its variables");
        return wrong;
      }
    }
  }
  return wrong;
}

}  // namespace fiberd::config

#include "config/show.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <utility>
#include <vector>

#include "config/environment.hpp"
#include "config/schema.hpp"
#include "core/base/characters.hpp"
#include "core/base/json.hpp"

namespace fiberd::config {

namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = ascii::to_lower(c);
  return out;
}

/// `file` and the like name where a secret is, and not the secret.
bool is_secret(std::string_view name) {
  static constexpr std::array<std::string_view, 11> kParts{"password", "passwd",     "passphrase", "secret",
                                                           "token",    "authorizat", "cookie",     "credential",
                                                           "api-key",  "api_key",    "apikey"};
  const std::string n = lower(name);
  if (n.ends_with("file") || n.ends_with("dir")) return false;
  if ((n.ends_with("-key") || n.ends_with("_key")) && n != "public_key") return true;
  return std::any_of(kParts.begin(), kParts.end(),
                     [&](std::string_view part) { return n.find(part) != std::string::npos; });
}

/// Of the environment, and of parameters in URLs: what its name ends in says it, too. (PWD is a directory.)
bool is_secret_variable(std::string_view name) {
  static constexpr std::array<std::string_view, 6> kEnds{"key", "pass", "_pwd", "-pwd", "sig", "signature"};
  const std::string n = lower(name);
  return is_secret(n) ||
         std::any_of(kEnds.begin(), kEnds.end(), [&](std::string_view end) { return n.ends_with(end); });
}

bool is_secret_parameter(std::string_view name) { return is_secret_variable(name) || lower(name) == "pwd"; }

std::string without_secrets_of_url(std::string_view url) {
  const std::size_t scheme = url.find("://");
  const bool relative = url.starts_with("//");  // to the scheme
  if (scheme == std::string_view::npos && !relative) return std::string(url);
  const std::size_t host = relative ? 2 : scheme + 3;
  const std::size_t end = std::min(url.find_first_of("/?#", host), url.size());
  const std::size_t at = url.substr(0, end).rfind('@');
  std::string out(url.substr(0, host));
  if (at != std::string_view::npos && at >= host)
    out += std::string(kMask).append(url.substr(at, end - at));
  else
    out += url.substr(host, end - host);
  std::string_view rest = url.substr(end);
  const std::size_t query = std::min(rest.find('?'), rest.size());
  out += rest.substr(0, query);
  rest.remove_prefix(query);
  while (!rest.empty()) {  // "?name=value", "&name=value"
    const std::size_t next = std::min(rest.find('&', 1), rest.size());
    const std::string_view part = rest.substr(0, next);
    const std::size_t equals = part.find('=');
    if (equals != std::string_view::npos && is_secret_parameter(part.substr(1, equals - 1)))
      out.append(part.substr(0, equals + 1)).append(kMask);
    else
      out += part;
    rest.remove_prefix(next);
  }
  return out;
}

bool is_text(Type type) {
  return type == Type::string || type == Type::strings || type == Type::texts || type == Type::pairs;
}

/// Strings of JSON are strings of YAML; line ends are written as people write them.
std::string quoted(std::string_view text) {
  static constexpr std::string_view kLineEnd = "\\u000a";
  std::string json;
  append_json_string(json, text);
  std::string out;
  for (std::size_t i = 0; i < json.size();) {
    if (json.compare(i, kLineEnd.size(), kLineEnd) == 0) {
      out += "\\n";
      i += kLineEnd.size();
    } else if (json[i] == '\\') {
      out.append(json, i, 2);
      i += 2;
    } else {
      out += json[i++];
    }
  }
  return out;
}

/// Sections that are there whether they are written or not.
bool is_implied(std::string_view pattern) {
  static constexpr std::array<std::string_view, 4> kBelow{".keepalive", ".timeouts", ".limits", ".access_log"};
  if (pattern.find('.') == std::string_view::npos) return pattern != "metrics";
  if (pattern.starts_with("listeners[].http.routes[]")) return false;
  return std::any_of(kBelow.begin(), kBelow.end(), [&](std::string_view end) { return pattern.ends_with(end); });
}

/// A route's access log has of the listener's what it does not say.
bool has_defaults(std::string_view pattern) { return pattern != "listeners[].http.routes[].access_log"; }

std::string join(const std::string& prefix, std::string_view key) {
  return prefix.empty() ? std::string(key) : prefix + "." + std::string(key);
}

class Writer {
 public:
  Writer(bool masked, const std::set<std::string>& comments) : masked_(masked), comments_(comments) {}

  /// The lines of a mapping. `node` may be nullptr: all defaults.
  std::vector<std::string> mapping(const Tree* node, const std::string& pattern, const std::string& path) {
    std::vector<std::string> lines;
    if (node != nullptr)
      for (const Tree::Entry& e : node->entries)
        if (join(pattern, e.key) != "include") written(e, pattern, path, lines);
    if (!has_defaults(pattern)) return lines;
    const std::string prefix = pattern.empty() ? "" : pattern + ".";
    for (const Row& row : schema()) {
      if (!row.path.starts_with(prefix) || !is_available(row)) continue;
      const std::string_view key = row.path.substr(prefix.size());
      if (key.empty() || key.find_first_of(".[") != std::string_view::npos) continue;
      const Tree* const there = node != nullptr ? node->find(key) : nullptr;
      if (there != nullptr && (there->kind != Tree::Kind::null || row.type == Type::section)) continue;
      left_out(row, key, path, lines);
    }
    return lines;
  }

  [[nodiscard]] const std::set<std::string>& defaults() const noexcept { return defaults_; }

 private:
  static void put_below(const std::vector<std::string>& below, const std::string& head,
                        std::vector<std::string>& lines) {
    if (below.empty()) {
      lines.push_back(head + " {}");
      return;
    }
    lines.push_back(head);
    for (const std::string& line : below) lines.push_back("  " + line);
  }

  void written(const Tree::Entry& e, const std::string& pattern, const std::string& path,
               std::vector<std::string>& lines) {
    const std::string at = join(path, e.key);
    const Row* const row = find_row(join(pattern, e.key));
    if (row == nullptr) return;  // such a tree does not load
    if (row->type == Type::section) {
      put_below(mapping(&e.value, join(pattern, e.key), at), e.key + ":", lines);
    } else if (e.value.kind == Tree::Kind::null) {
      return;  // left out: the default's
    } else if (row->type == Type::list) {
      list(e, join(pattern, e.key) + "[]", at, lines);
    } else if (e.value.kind == Tree::Kind::mapping) {
      std::vector<std::string> pairs;
      for (const Tree::Entry& pair : e.value.entries)
        pairs.push_back(quoted(pair.key) + ": " + scalar(*row, pair.key, pair.value));
      put_below(pairs, e.key + ":", lines);
    } else if (e.value.kind == Tree::Kind::sequence) {
      std::string all;
      for (const Tree& item : e.value.items) all += (all.empty() ? "" : ", ") + scalar(*row, e.key, item);
      lines.push_back(e.key + ": [" + all + "]");
    } else {
      lines.push_back(e.key + ": " + scalar(*row, e.key, e.value));
    }
  }

  void list(const Tree::Entry& e, const std::string& pattern, const std::string& path,
            std::vector<std::string>& lines) {
    if (e.value.items.empty())
      lines.push_back(e.key + ": []");
    else
      lines.push_back(e.key + ":");
    for (std::size_t i = 0; i < e.value.items.size(); ++i) {
      bool first = true;
      for (const std::string& line : mapping(&e.value.items[i], pattern, path + "[" + std::to_string(i) + "]"))
        lines.push_back((std::exchange(first, false) ? "  - " : "    ") + line);
    }
  }

  void left_out(const Row& row, std::string_view key, const std::string& path, std::vector<std::string>& lines) {
    const std::string at = join(path, key);
    const std::string name(key);
    std::vector<std::string> own;
    if (row.type == Type::section) {
      if (!is_implied(row.path)) return;
      put_below(mapping(nullptr, std::string(row.path), at), name + ":", own);
    } else if (row.fallback.empty() || row.type == Type::list) {
      return;
    } else {
      const bool plain = !is_text(row.type) || row.type == Type::strings;  // lists are written as in YAML
      own.push_back(name + ": " + (plain ? std::string(row.fallback) : quoted(row.fallback)) + "  # default");
    }
    defaults_.insert(at);
    const bool comment = comments_.contains(at);
    for (const std::string& line : own) lines.push_back((comment ? "# " : "") + line);
  }

  [[nodiscard]] std::string scalar(const Row& row, std::string_view name, const Tree& node) const {
    const bool masked = masked_ && is_text(row.type);
    std::string value;
    (void)expand_environment(node.scalar, row.variables, value, masked ? &is_secret_variable : nullptr);
    if (masked) value = mask_secret(name, value);
    if (!is_text(row.type)) return value;
    if (!row.variables)  // it would be taken for a variable of the environment, the next time
      for (std::size_t i = value.find("${"); i != std::string::npos; i = value.find("${", i + 3))
        value.insert(i, 1, '$');
    return quoted(value);
  }

  const bool masked_;
  const std::set<std::string>& comments_;
  std::set<std::string> defaults_;
};

std::string text_of(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

/// Of `defaults` the one that `key` is, or stands in, or holds; empty: none.
std::string default_of(const std::set<std::string>& defaults, const std::string& key) {
  for (std::string at = key; !at.empty();) {
    if (defaults.contains(at)) return at;
    const std::size_t end = at.find_last_of(".[");
    at.resize(end == std::string::npos ? 0 : end);
  }
  return {};
}

}  // namespace

std::string mask_secret(std::string_view name, std::string_view value) {
  return is_secret(name) && !value.empty() ? std::string(kMask) : without_secrets_of_url(value);
}

std::string show(const Tree& tree) {
  // Where nobody wrote it, another program's port there is no failure.
  std::set<std::string> comments{"admin.address"};
  // What may not be written where it is, the rules know.
  static constexpr int kRounds = 8;
  for (int round = 0; round < kRounds; ++round) {
    Writer plain(false, comments);
    const Outcome outcome = load_text(text_of(plain.mapping(&tree, "", "")), "effective");
    bool more = false;
    for (const Diagnostic& d : outcome.diagnostics)
      if (const std::string at = default_of(plain.defaults(), d.key); !at.empty()) more |= comments.insert(at).second;
    if (outcome.ok()) break;
    if (!more) {  // the complaint is at another key than the one that must not be there
      comments.insert(plain.defaults().begin(), plain.defaults().end());
    }
  }
  Writer shown(true, comments);
  return text_of(shown.mapping(&tree, "", ""));
}

}  // namespace fiberd::config

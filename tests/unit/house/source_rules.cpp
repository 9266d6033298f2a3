#include "tests/unit/house/source_rules.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <initializer_list>
#include <map>
#include <set>
#include <span>

namespace fiberd::house {

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

namespace {

using Rooms = std::vector<std::string_view>;

const std::map<std::string_view, Rooms>& arrows() {
  static const std::map<std::string_view, Rooms> table = {
      {"base", {}},
      {"metric", {"base"}},
      {"fiber", {"base"}},
      {"runtime", {"fiber", "metric"}},
      {"context", {"runtime"}},
      {"sync", {"context"}},
      {"trace", {"context"}},
      {"flow", {"sync"}},
      {"net", {"sync"}},
      {"tls", {"net"}},
      {"http", {"tls", "net", "flow", "trace"}},
      {"observe", {"context", "metric"}},
      {"config", {"base"}},
      {"daemon", {"http", "observe", "config"}},
  };
  return table;
}

struct Fence {
  std::string_view header;  ///< a prefix of the included name, up to a '/' or its end
  std::initializer_list<std::string_view> rooms;
};

// The longest header that fits decides, so boost/context can be stricter than the rest of Boost.
const std::array<Fence, 29>& fences() {
  static const std::array<Fence, 29> table = {{
      {"boost/asio", {"net", "runtime"}},
      {"boost/asio.hpp", {"net", "runtime"}},
      {"boost/system", {"net", "runtime"}},
      {"boost/beast", {"http"}},
      {"boost/fiber", {}},
      {"boost/context", {"fiber"}},
      {"boost/json", {"daemon"}},
      {"boost/json.hpp", {"daemon"}},
      {"boost", {}},
      {"tl", {"base"}},
      {"yaml-cpp", {"config"}},
      {"llhttp.h", {"http"}},
      {"nghttp2", {"http"}},
      {"prometheus", {"observe"}},
      {"protozero", {"observe"}},
      {"openssl", {"tls"}},
      {"zlib.h", {"http", "observe"}},
      {"zconf.h", {"http"}},
      {"brotli", {"http"}},
      {"zstd.h", {"http"}},
      {"crypt.h", {"http"}},
      {"ares.h", {"net"}},
      {"ares_build.h", {"net"}},
      {"spdlog", {"daemon"}},
      {"fmt", {"daemon"}},
      {"CLI", {"daemon"}},
      {"catch2", {}},
      {"benchmark", {}},
      {"systemd", {"daemon"}},
  }};
  return table;
}

constexpr std::array<std::string_view, 4> kThreadRooms = {"base", "metric", "fiber", "runtime"};

// What belongs to a thread must not be held across a park, and only these rooms know when a fiber may park.
constexpr std::array<std::string_view, 9> kThreadWords = {"thread_local",
                                                          "__thread",
                                                          "std::mutex",
                                                          "std::timed_mutex",
                                                          "std::shared_mutex",
                                                          "std::recursive_mutex",
                                                          "std::shared_timed_mutex",
                                                          "std::condition_variable",
                                                          "std::condition_variable_any"};

constexpr std::array<std::string_view, 19> kTopLevel = {".ci",
                                                        ".clang-format",
                                                        ".clang-tidy",
                                                        ".dockerignore",
                                                        ".gitignore",
                                                        "CHANGELOG.md",
                                                        "CMakeLists.txt",
                                                        "CMakePresets.json",
                                                        "CONTRIBUTING.md",
                                                        "Dockerfile",
                                                        "LICENSE",
                                                        "Makefile",
                                                        "README.md",
                                                        "config",
                                                        "core",
                                                        "daemon",
                                                        "deploy",
                                                        "docs",
                                                        "tests"};

template <class Range>
bool holds(const Range& range, std::string_view value) {
  return std::find(std::begin(range), std::end(range), value) != std::end(range);
}

bool covers(std::string_view header, std::string_view name) {
  return name.starts_with(header) && (name.size() == header.size() || name[header.size()] == '/');
}

const Fence* fence_of(std::string_view name) {
  const Fence* best = nullptr;
  for (const Fence& fence : fences()) {
    if (covers(fence.header, name) && (best == nullptr || best->header.size() < fence.header.size())) {
      best = &fence;
    }
  }
  return best;
}

int line_at(std::string_view text, std::size_t offset) {
  const auto end = text.begin() + static_cast<std::ptrdiff_t>(offset);
  return 1 + static_cast<int>(std::count(text.begin(), end, '\n'));
}

// Blanks [from, to) but for its line ends.
void blank(std::string& text, std::size_t from, std::size_t to) {
  for (std::size_t i = from; i < to && i < text.size(); ++i) {
    if (text[i] != '\n') {
      text[i] = ' ';
    }
  }
}

// The offset behind a quoted literal that begins at `at`.
std::size_t end_of_literal(std::string_view text, std::size_t at) {
  const char quote = text[at];
  std::size_t i = at + 1;
  while (i < text.size() && text[i] != quote && text[i] != '\n') {
    i += text[i] == '\\' ? 2 : 1;
  }
  return std::min(i + 1, text.size());
}

std::size_t end_of_raw_string(std::string_view text, std::size_t quote) {
  const std::size_t open = text.find('(', quote);
  if (open == std::string_view::npos) {
    return text.size();
  }
  const std::string closing = ")" + std::string(text.substr(quote + 1, open - quote - 1)) + "\"";
  const std::size_t end = text.find(closing, open);
  return end == std::string_view::npos ? text.size() : end + closing.size();
}

// Whether the '"' at `at` opens the name of an include.
bool in_include(std::string_view text, std::size_t at) {
  const std::size_t begin = text.rfind('\n', at) + 1;  // npos + 1 is 0
  std::string_view line = text.substr(begin, at - begin);
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  if (!line.starts_with('#')) {
    return false;
  }
  line.remove_prefix(1);
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  return line.starts_with("include");
}

void check_words(std::string_view path, std::string_view code, std::vector<Violation>& found) {
  for (const std::string_view word : kThreadWords) {
    for (std::size_t at = code.find(word); at != std::string_view::npos; at = code.find(word, at + word.size())) {
      const std::size_t end = at + word.size();
      if ((at == 0 || !is_word(code[at - 1])) && (end == code.size() || !is_word(code[end]))) {
        found.push_back({std::string(path), line_at(code, at),
                         std::string(word) + " stands outside base, metric, fiber and runtime: use fiberd::Lock"});
      }
    }
  }
}

void check_include(std::string_view path, std::string_view room, const Include& include,
                   std::vector<Violation>& found) {
  const auto refuse = [&](std::string what) { found.push_back({std::string(path), include.line, std::move(what)}); };
  if (const std::optional<std::string> target = room_of(include.name)) {
    if (!include.quoted) {
      refuse("<" + include.name + ">: the project's own headers are quoted");
    }
    if (!may_include(room, *target)) {
      refuse(std::string(room) + " may not include " + *target + ": " + include.name);
    }
    return;
  }
  if (include.name.starts_with("tests/")) {
    refuse("no source includes a test's header: " + include.name);
    return;
  }
  // Its headers cost seconds of each source that includes them.
  if (covers("boost/beast", include.name) && path != "core/http/websocket/codec.cpp") {
    refuse("Boost.Beast is for core/http/websocket/codec.cpp alone: " + include.name);
    return;
  }
  if (const Fence* fence = fence_of(include.name)) {
    if (!holds(fence->rooms, room)) {
      refuse(std::string(room) + " may not include " + include.name);
    }
    return;
  }
  if (include.quoted) {
    refuse("\"" + include.name + "\" is not a root-relative header of a room");
  }
}

}  // namespace

std::string code_only(std::string_view source) {
  std::string code(source);
  std::size_t i = 0;
  while (i < code.size()) {
    const std::string_view rest = std::string_view(code).substr(i);
    std::size_t end = i + 1;
    if (rest.starts_with("//")) {
      end = std::min(code.find('\n', i), code.size());
      blank(code, i, end);
    } else if (rest.starts_with("/*")) {
      const std::size_t closing = code.find("*/", i + 2);
      end = closing == std::string::npos ? code.size() : closing + 2;
      blank(code, i, end);
    } else if (code[i] == '"' && in_include(code, i)) {
      end = end_of_literal(code, i);
    } else if (code[i] == '"' && i > 0 && code[i - 1] == 'R' && (i == 1 || !is_word(code[i - 2]))) {
      end = end_of_raw_string(code, i);
      blank(code, i, end);
    } else if (code[i] == '"' || (code[i] == '\'' && (i == 0 || !is_word(code[i - 1])))) {
      // A quote behind a digit separates digits: 1'000'000.
      end = end_of_literal(code, i);
      blank(code, i, end);
    }
    i = end;
  }
  return code;
}

std::vector<Include> includes_of(std::string_view source) {
  const std::string code = code_only(source);
  std::vector<Include> found;
  for (std::size_t at = code.find('#'); at != std::string::npos; at = code.find('#', at + 1)) {
    std::size_t i = code.find_first_not_of(" \t", at + 1);
    if (i == std::string::npos || !std::string_view(code).substr(i).starts_with("include")) {
      continue;
    }
    i = code.find_first_not_of(" \t", i + 7);
    if (i == std::string::npos || (code[i] != '"' && code[i] != '<')) {
      continue;
    }
    const bool quoted = code[i] == '"';
    const std::size_t end = code.find(quoted ? '"' : '>', i + 1);
    if (end != std::string::npos) {
      found.push_back({code.substr(i + 1, end - i - 1), quoted, line_at(code, at)});
    }
  }
  return found;
}

std::optional<std::string> room_of(std::string_view path) {
  std::string_view rest = path;
  if (rest.starts_with("core/")) {
    rest.remove_prefix(5);
    const std::size_t slash = rest.find('/');
    return slash == std::string_view::npos ? std::nullopt : std::optional(std::string(rest.substr(0, slash)));
  }
  for (const std::string_view room : {"config", "daemon"}) {
    if (covers(room, rest) && rest.size() > room.size()) {
      return std::string(room);
    }
  }
  return std::nullopt;
}

bool may_include(std::string_view from, std::string_view to) {
  if (!arrows().contains(from) || !arrows().contains(to)) {
    return false;
  }
  std::set<std::string_view> seen;
  Rooms open = {from};
  while (!open.empty()) {
    const std::string_view room = open.back();
    open.pop_back();
    if (room == to) {
      return true;
    }
    if (seen.insert(room).second) {
      const Rooms& next = arrows().at(room);
      open.insert(open.end(), next.begin(), next.end());
    }
  }
  return false;
}

std::vector<Violation> check_source(std::string_view path, std::string_view source) {
  std::vector<Violation> found;
  const std::optional<std::string> room = room_of(path);
  if (!room || !arrows().contains(*room)) {
    found.push_back({std::string(path), 0, "stands in no room that the arrows know"});
    return found;
  }
  for (const Include& include : includes_of(source)) {
    check_include(path, *room, include, found);
  }
  if (!holds(kThreadRooms, *room)) {
    check_words(path, code_only(source), found);
  }
  return found;
}

std::vector<std::string> sources_below(const std::filesystem::path& root) {
  std::vector<std::string> found;
  for (const std::string_view folder : {"core", "config", "daemon"}) {
    if (!std::filesystem::exists(root / folder)) {
      continue;
    }
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / folder)) {
      const std::string extension = entry.path().extension().string();
      if (entry.is_regular_file() && (extension == ".hpp" || extension == ".cpp")) {
        found.push_back(std::filesystem::relative(entry.path(), root).generic_string());
      }
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

TopLevel check_top_level(const std::vector<std::string>& names) {
  TopLevel result;
  for (const std::string_view wanted : kTopLevel) {
    if (!holds(names, wanted)) {
      result.missing.emplace_back(wanted);
    }
  }
  for (const std::string& name : names) {
    const bool ignored = name == ".git" || name == "build" || name.starts_with("build-") || name == ".cache" ||
                         name == "compile_commands.json";
    if (!ignored && !holds(kTopLevel, name)) {
      result.strange.push_back(name);
    }
  }
  std::sort(result.strange.begin(), result.strange.end());
  return result;
}

}  // namespace fiberd::house

#include "config/load_files.hpp"

#include <algorithm>
#include <string>
#include <string_view>

#include "config/text_rules.hpp"
#include "core/base/characters.hpp"

namespace fiberd::config {

namespace {

bool leads_out(std::string_view name) { return ("/" + std::string(name) + "/").find("/../") != std::string::npos; }

/// One of try_files: $path stands for the request's path, and may be written ${path}, as it is before letters.
std::string read_tried(const Reader& r, std::size_t index, std::string name) {
  const auto report = [&](std::string message) { r.report("try_files", index, std::move(message)); };
  if (name.empty()) report("is empty; the root itself is /");
  if (leads_out(name)) report("\"" + name + "\" leads out of the root");
  // What nginx has at the end of the list.
  const bool digits = name.size() == 4 && std::all_of(name.begin() + 1, name.end(), ascii::is_digit);
  if (name.starts_with('=') && digits)
    report("\"" + name + "\" would be the name of a file; leave it out: 404 is the answer where none is there");
  if (name.starts_with('@') && name.find_first_of("./") == std::string::npos)
    report("\"" + name + "\" would be the name of a file; use fallback, or another route");
  std::string plain;
  for (std::string_view rest = name; !rest.empty();) {
    const std::string_view variable = find_variable(rest);
    if (variable.empty()) return plain + std::string(rest);
    plain.append(rest.substr(0, static_cast<std::size_t>(variable.data() - rest.data())));
    rest.remove_prefix(static_cast<std::size_t>(variable.data() - rest.data()) + variable.size());
    plain += "$path";
    if (variable == "$path" || variable == "${path}") continue;
    report(unknown_variable(variable, "write $path for the request's path, which is all that there is"));
    return name;
  }
  return plain;
}

}  // namespace

FilesAction read_files(const Reader& r) {
  FilesAction a;
  a.root = r.text("root");
  a.root_at = r.place("root");
  a.index = r.strings("index");
  if (a.root.empty())
    r.report("root", "is required");
  else if (const std::string wrong = check_file_path(a.root); !wrong.empty())
    r.report("root", wrong);
  static constexpr std::string_view kOneFile = "it is the name of one file; $path stands in try_files";
  for (std::size_t i = 0; i < a.index.size(); ++i) {
    const std::string& name = a.index[i];
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos)
      r.report("index", i, "\"" + name + "\" is no file name");
    else if (const std::string_view variable = find_variable(name); !variable.empty())
      r.report("index", i, unknown_variable(variable, kOneFile));
  }
  a.cache_control = r.text("cache_control");
  check_field(r, "cache_control", a.cache_control);
  a.precompressed = r.strings("precompressed");
  for (auto coding = a.precompressed.begin(); coding != a.precompressed.end(); ++coding) {
    if (*coding != "br" && *coding != "zstd" && *coding != "gzip")
      r.report("precompressed", "\"" + *coding + "\" is not known; of br, zstd, gzip");
    if (std::find(a.precompressed.begin(), coding, *coding) != coding)
      r.report("precompressed", *coding + " stands there twice");
  }
  a.try_files = r.strings("try_files");
  for (std::size_t i = 0; i < a.try_files.size(); ++i) a.try_files[i] = read_tried(r, i, std::move(a.try_files[i]));
  a.fallback = r.text("fallback");
  if (leads_out(a.fallback)) r.report("fallback", "\"" + a.fallback + "\" leads out of the root");
  if (const std::string_view variable = find_variable(a.fallback); !variable.empty())
    r.report("fallback", unknown_variable(variable, kOneFile));
  if (a.fallback.ends_with('/')) r.report("fallback", "is a file, and a name that ends in / is none; e.g. index.html");
  // Below the root it is, either way.
  a.fallback.erase(0, a.fallback.find_first_not_of('/'));
  a.listing = r.boolean("listing");
  a.ranges = static_cast<unsigned>(r.number("ranges"));
  return a;
}

}  // namespace fiberd::config

#include "daemon/tracing/collector_headers.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <string_view>
#include <system_error>

#include "core/base/characters.hpp"
#include "core/base/read_file.hpp"
#include "core/http/client/client_request.hpp"

namespace fiberd::daemon {

Result<CollectorHeaders> read_collector_headers(const std::string& file, std::string& why) {
  const Result<std::string> text = read_file(file, kMostHeadersFile + 1);
  if (!text) {
    why = file + ": " + why_unreadable(text.error());
    return fail(text.error());
  }
  const auto refuse = [&](std::size_t line, std::string_view what) {
    why = file + (line != 0 ? ":" + std::to_string(line) : std::string()) + ": " + std::string(what);
    return fail(std::errc::invalid_argument);
  };
  if (text->size() > kMostHeadersFile) return refuse(0, "has 16384 bytes at most");
  CollectorHeaders headers;
  std::string_view rest = *text;
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = ascii::trim(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.empty() || line.front() == '#') continue;
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return refuse(number, "is no field: write Name: value");
    const http::Field field{line.substr(0, colon), ascii::trim(line.substr(colon + 1))};
    // Asked of who will write it.
    std::string head;
    if (!http::write_request_head(head, {.url = "http://localhost/", .fields = {&field, 1}}, {}, {}))
      return refuse(number,
                    "is no field that can be sent: a name of letters, digits and dashes, a value without control "
                    "characters, and none that the client writes itself");
    if (ascii::equals_ignore_case(field.name, "content-type"))
      return refuse(number, "Content-Type is application/json");
    if (headers.size() == kMostHeaders) return refuse(number, "is one too many: 32 are allowed");
    headers.emplace_back(field.name, field.value);
  }
  return headers;
}

std::string warn_of_headers_file(const std::string& file) {
  struct stat status {};
  if (file.empty() || ::stat(file.c_str(), &status) != 0 || (status.st_mode & S_IROTH) == 0) return {};
  return "tracing.headers_file " + file + " can be read by everybody: chmod o-r";
}

}  // namespace fiberd::daemon

#include "daemon/top/asker.hpp"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>

#include "core/base/characters.hpp"
#include "core/base/printable.hpp"

namespace fiberd::daemon::top {

static std::string in_query(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (ascii::is_alnum(c) || c == '/' || c == '.' || c == '_' || c == '-' || c == ':') {
      out += c;
    } else {
      out += '%';
      out += ascii::kHexDigits[byte >> 4U];
      out += ascii::kHexDigits[byte & 15U];
    }
  }
  return out;
}

std::optional<AdminAnswer> Asker::ask(std::string target, bool cut, Look& look) const {
  AdminRequest request{.address = asked_.address,
                       .target = std::move(target),
                       .token_file = asked_.token_file,
                       .patience = std::chrono::seconds(5),
                       .most_bytes = std::size_t{4} * 1024 * 1024,
                       .cut = cut};
  AdminOutcome outcome = ask_admin(request);
  if (!outcome.answer) {
    look.why = describe_failure(request, outcome.failure, asked_.source);
    if (outcome.failure.what == AdminFailure::What::no_address || outcome.failure.what == AdminFailure::What::no_token)
      look.code = ExitCode::bad_usage;
    return std::nullopt;
  }
  if (outcome.answer->status == 200) return std::move(outcome.answer);
  look.why = asked_.address + ": it answers " + std::to_string(outcome.answer->status);
  if (outcome.answer->status == 401) {
    look.why += asked_.token_file.empty() ? ": name the token's file, --token-file" : ": it has another token";
    look.code = ExitCode::bad_usage;
  } else if (outcome.answer->status == 404) {
    look.why += ": a fiberd of before, or none";
  } else {
    look.why += ": " + printable(outcome.answer->body.substr(0, outcome.answer->body.find('\n')), 200);
  }
  return std::nullopt;
}

Look Asker::look() const {
  Look look;
  std::optional<AdminAnswer> answer = ask("/debug/status", false, look);
  if (!answer) return look;
  look.snapshot = parse_snapshot(answer->body, look.why);
  if (look.snapshot)
    look.document = std::move(answer->body);
  else
    look.why = asked_.address + ": " + look.why;
  return look;
}

std::vector<std::string> Asker::stacks(const std::string& site) const {
  Look look;
  const std::optional<AdminAnswer> answer = ask("/debug/fibers?debug=2&site=" + in_query(site), true, look);
  std::vector<std::string> lines;
  std::string_view rest = answer ? std::string_view(answer->body) : std::string_view(look.why);
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    lines.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (lines.empty()) lines.emplace_back("no fibers");
  return lines;
}

}  // namespace fiberd::daemon::top

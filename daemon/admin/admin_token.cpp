#include "daemon/admin/admin_token.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "core/base/constant_time.hpp"
#include "core/base/log.hpp"
#include "core/base/read_file.hpp"

namespace fiberd::daemon {

Result<std::shared_ptr<const http::Secret>> read_token(const std::string& file, std::string& why) {
  Result<std::string> text = read_file(file, kMostToken + 3);
  if (!text) {
    why = file + ": " + why_unreadable(text.error());
    return fail(text.error());
  }
  std::string& token = *text;
  if (token.ends_with('\n')) token.pop_back();  // as echo writes it
  if (token.ends_with('\r')) token.pop_back();
  const auto refuse = [&](std::string_view what) {
    why = file + ": " + std::string(what);
    return fail(std::errc::invalid_argument);
  };
  if (token.size() < kLeastToken) return refuse("a token has 16 bytes at least: openssl rand -hex 32 makes one");
  if (token.size() > kMostToken) return refuse("a token has 4096 bytes at most");
  if (!std::all_of(token.begin(), token.end(), [](char c) { return c > 0x20 && c < 0x7f; }))
    return refuse("a token is one word of printable ASCII: openssl rand -hex 32 makes one");
  return std::make_shared<const http::Secret>(std::move(token));
}

std::string warn_of_token_file(const std::string& file) {
  struct stat status {};
  if (file.empty() || ::stat(file.c_str(), &status) != 0 || (status.st_mode & S_IROTH) == 0) return {};
  return "admin.token_file " + file + " can be read by everybody: chmod o-r";
}

Result<std::shared_ptr<AdminToken>> AdminToken::open(const std::string& file, std::string& why) {
  auto token = read_token(file, why);
  if (!token) return fail(token.error());
  return std::shared_ptr<AdminToken>(new AdminToken(file, std::move(*token)));
}

bool AdminToken::is(std::string_view given) const noexcept {
  std::shared_ptr<const http::Secret> token;
  {
    const LockGuard guard(lock_);
    token = token_;
  }
  return equal_in_constant_time(given, token->text());
}

bool AdminToken::due(std::int64_t now) noexcept {
  static constexpr std::int64_t kPause = 1'000'000'000;
  std::int64_t next = next_look_.load(std::memory_order_relaxed);
  return now >= next && next_look_.compare_exchange_strong(next, now + kPause, std::memory_order_relaxed);
}

void AdminToken::look() {
  std::string why;
  std::shared_ptr<const http::Secret> token = read_token(file_, why).value_or(nullptr);
  std::string wrong = why;
  bool changed = false;
  {
    const LockGuard guard(lock_);
    said_.swap(wrong);  // what was said before
    changed = token != nullptr && token->text() != token_->text();
    if (changed) token_.swap(token);
  }
  if (changed) log(LogLevel::info, "admin.token_file " + file_ + ": the token is another one from now on");
  if (!why.empty() && why != wrong) log(LogLevel::error, "admin.token_file " + why + "; the token before stays");
}

}  // namespace fiberd::daemon

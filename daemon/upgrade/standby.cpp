#include "daemon/upgrade/standby.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <system_error>

#include "core/base/clock.hpp"

namespace fiberd::daemon::upgrade {

static double share_of(Traffic t) noexcept {
  return t.requests == 0 ? 0 : static_cast<double>(t.errors) / static_cast<double>(t.requests);
}

static std::string percent(double share) {
  std::array<char, 16> text{};
  (void)std::snprintf(text.data(), text.size(), "%.1f %%", share * 100);
  return text.data();
}

static bool parse(std::string_view report, bool& well, Traffic& t) noexcept {
  const std::size_t first = report.find(' ');
  const std::size_t second = report.rfind(' ');
  if (first == std::string_view::npos || second == first) return false;
  well = report.substr(0, first) == "ok";
  const std::string_view requests = report.substr(first + 1, second - first - 1);
  const std::string_view errors = report.substr(second + 1);
  return std::from_chars(requests.data(), requests.data() + requests.size(), t.requests).ec == std::errc() &&
         std::from_chars(errors.data(), errors.data() + errors.size(), t.errors).ec == std::errc();
}

std::string Judge::hear(std::string_view report, std::int64_t now) {
  bool well = false;
  Traffic t;
  if (!parse(report, well, t)) return {};  // then it is silent
  heard_ = now;
  sick_ = well ? 0 : sick_ + 1;
  if (sick_ >= kSick) return "its /healthz fails: not all of its Processors take up a fiber within a second";
  if (t.requests < kLeast || share_of(t) <= share_of(before_) + kWorse) return {};
  return "it answers " + percent(share_of(t)) + " of " + std::to_string(t.requests) + " requests with 5xx, this one " +
         percent(share_of(before_)) + " of " + std::to_string(before_.requests);
}

std::string Judge::silence(std::int64_t now) const {
  return now - heard_ < kSilence ? std::string() : "it says nothing any more";
}

bool watch(Successor& next, Traffic before, std::int64_t until, const Successor::GiveUp& give_up, std::string& why) {
  static constexpr std::int64_t kLook = 50'000'000;
  Judge judge(before, monotonic_now());
  while (!give_up()) {
    const std::int64_t now = monotonic_now();
    if (now >= until) return true;
    const Result<Message> message = next.channel().receive(std::min(until, now + kLook));
    if (!message && message.error() != std::errc::timed_out) {
      why.clear();  // what became of it is looked at when somebody accepts again
      return false;
    }
    why = message && message->word() == "health" ? judge.hear(message->rest(), now) : judge.silence(now);
    if (!why.empty()) return false;
  }
  return true;
}

}  // namespace fiberd::daemon::upgrade

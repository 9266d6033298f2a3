#include "daemon/admin/sampled_pages.hpp"

#include <charconv>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "core/base/log.hpp"
#include "core/base/printable.hpp"
#include "core/base/units.hpp"
#include "core/fiber/heap_sampler.hpp"
#include "core/http/handlers.hpp"
#include "core/http/query.hpp"
#include "core/observe/catalogue.hpp"
#include "core/observe/sampled_profiles.hpp"
#include "core/runtime/block_profile.hpp"
#include "core/runtime/profile_rates.hpp"
#include "daemon/admin/plain_text.hpp"

namespace fiberd::daemon {

namespace {

using observe::PprofProfile;

std::string present_rates() {
  const std::uint64_t heap = runtime::mem_profile_rate();
  const std::int64_t block = runtime::block_profile_rate().count();
  const std::uint32_t mutex = runtime::mutex_profile_fraction();
  return "heap=" + (heap == 0 ? std::string("0") : format_bytes(heap)) + " block=" + std::to_string(block) +
         "ns mutex=" + std::to_string(mutex) + "\n";
}

struct Wishes {
  std::optional<std::uint64_t> heap{};
  std::optional<std::chrono::nanoseconds> block{};
  std::optional<std::uint32_t> mutex{};
};

/// What is wrong: a sentence.
std::optional<std::string> read_wishes(std::string_view query, Wishes& wishes) {
  const auto wrong = [](std::string_view name, const std::string& value, const char* right) {
    return "rates: " + std::string(name) + ": \"" + printable(value, 64) + "\" is not " + right + "\n";
  };
  if (auto unknown = why_unknown("rates", query, {"heap", "block", "mutex"})) return unknown;
  if (const auto text = http::query_value(query, "heap")) {
    const auto bytes = parse_bytes(*text);
    if (!bytes || *bytes > fiber::HeapSampler::kMostRate)
      return wrong("heap", *text, "a size up to 1TiB: 512KiB, or 0 for off");
    wishes.heap = *bytes;
  }
  if (const auto text = http::query_value(query, "block")) {
    const auto time = *text == "0" ? std::chrono::nanoseconds(0) : parse_duration(*text);
    if (!time || time->count() < 0 || *time > std::chrono::hours(1))
      return wrong("block", *text, "a duration up to 1h: 100us, or 0 for off");
    wishes.block = *time;
  }
  if (const auto text = http::query_value(query, "mutex")) {
    std::uint32_t fraction = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), fraction);
    if (text->empty() || error != std::errc() || end != text->data() + text->size() || fraction > 1'000'000'000)
      return wrong("mutex", *text, "a number up to 1000000000: one in so many, or 0 for off");
    wishes.mutex = fraction;
  }
  return std::nullopt;
}

Result<void> set_rates(http::Exchange& exchange) {
  Wishes wishes;
  if (const auto wrong = read_wishes(exchange.request().query, wishes))
    return exchange.respond(400, kPlainText, *wrong);
  if (wishes.heap && *wishes.heap != 0 && !fiber::heap_is_sampled())
    return exchange.respond(501, kPlainText, "rates: heap: this build does not see allocations\n");
  if (wishes.heap) (void)runtime::set_mem_profile_rate(*wishes.heap);
  if (wishes.block) runtime::set_block_profile_rate(*wishes.block);
  if (wishes.mutex) runtime::set_mutex_profile_fraction(*wishes.mutex);
  const std::string now = present_rates();
  if (wishes.heap || wishes.block || wishes.mutex)
    log(LogLevel::info, "profile rates: " + now.substr(0, now.size() - 1));
  return exchange.respond(200, kPlainText, now);
}

}  // namespace

void use_profile_rates(const config::ProfilesConfig& rates) noexcept {
  (void)runtime::set_mem_profile_rate(rates.heap_rate);
  runtime::set_block_profile_rate(rates.block_rate);
  runtime::set_mutex_profile_fraction(rates.mutex_fraction);
}

void add_sampled_profiles(std::vector<ProfileSource>& to) {
  const auto add = [&to](const char* name, const char* help, PprofProfile (*take)()) {
    to.push_back({.name = name, .help = help, .take = [take] { return Result<PprofProfile>(take()); }, .grows = true});
  };
  add("heap", "memory in use, by who allocated it", [] { return observe::heap_profile(false); });
  add("allocs", "all that was allocated since the start", [] { return observe::heap_profile(true); });
  add("block", "where fibers waited for each other; off unless profiles.block_rate says so", &observe::block_profile);
  add("mutex", "who held locks that others waited for; off unless profiles.mutex_fraction says so",
      &observe::mutex_profile);
}

http::Route rates_route() {
  http::Route route;
  route.spec.path = "/debug/pprof/rates";
  route.spec.methods = http::MethodSet::of(http::Method::post);
  route.handler = http::make_handler(&set_rates);
  return route;
}

std::vector<metric::CallbackHandle> register_profile_metrics(metric::Registry& registry) {
  std::vector<metric::CallbackHandle> handles;
  const auto add = [&](const char* family, const char* profile, double (*read)()) {
    handles.push_back(registry.callback(observe::register_metric(registry, family), {profile}, read));
  };
  static constexpr const char* kLost = "fiberd_profile_samples_lost_total";
  add("fiberd_profile_samples_total", "heap",
      [] { return static_cast<double>(fiber::heap_sampler().stats().samples); });
  add("fiberd_profile_samples_total", "block", [] { return static_cast<double>(runtime::block_samples()); });
  add("fiberd_profile_samples_total", "mutex", [] { return static_cast<double>(runtime::mutex_samples()); });
  add(kLost, "heap", [] {
    const auto stats = fiber::heap_sampler().stats();
    return static_cast<double>(stats.lost + stats.lost_stack);
  });
  add(kLost, "block", [] { return static_cast<double>(runtime::block_stacks().lost()); });
  add(kLost, "mutex", [] { return static_cast<double>(runtime::mutex_stacks().lost()); });
  return handles;
}

}  // namespace fiberd::daemon

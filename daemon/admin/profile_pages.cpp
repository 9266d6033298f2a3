#include "daemon/admin/profile_pages.hpp"

#include <sys/random.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "core/base/characters.hpp"
#include "core/base/clock.hpp"
#include "core/base/printable.hpp"
#include "core/context/waits.hpp"
#include "core/http/handlers.hpp"
#include "core/http/query.hpp"
#include "core/observe/cpu_profile.hpp"
#include "core/observe/flame_graph.hpp"
#include "core/observe/symbol_names.hpp"
#include "core/runtime/blocking.hpp"
#include "daemon/admin/plain_text.hpp"
#include "daemon/admin/sampled_pages.hpp"

namespace fiberd::daemon {

namespace {

using observe::PprofProfile;

constexpr unsigned kMostSeconds = 300;

/// A profile, or what is to be answered instead.
struct Taken {
  std::optional<PprofProfile> profile{};
  std::int64_t time = 0;
  std::int64_t duration = 0;
  unsigned status = 400;
  std::string refusal{};
};

Taken refused(unsigned status, std::string why) { return {.status = status, .refusal = std::move(why)}; }

std::int64_t unix_now() { return std::chrono::nanoseconds(wall_now().time_since_epoch()).count(); }

/// A number of the query; nullopt: it is none, or is not within 1 … most.
std::optional<unsigned> read_number(std::string_view query, std::string_view name, unsigned otherwise, unsigned most) {
  const auto text = http::query_value(query, name);
  if (!text) return otherwise;
  unsigned number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc() || end != text->data() + text->size() || number < 1 || number > most) return std::nullopt;
  return number;
}

/// What is wrong with how the answer shall look; asked before anything is sampled. Nothing: text, or pprof's protobuf.
std::optional<std::string> wrong_debug(std::string_view query) {
  const std::string debug = http::query_value(query, "debug").value_or("0");
  if (debug == "0" || debug == "1" || debug == "2") return std::nullopt;
  return "debug: 0 (pprof's protobuf), 1 or 2 (text)\n";
}

std::string wrong_seconds() { return "seconds: a whole number between 1 and " + std::to_string(kMostSeconds) + "\n"; }

/// Who ends his side of the connection while something is sampled is taken to have left, as somebody who has pressed
/// Ctrl-C: else nobody else could begin. He may read on all the same.
Result<Taken> left(http::Exchange& exchange, std::error_code error) {
  if (exchange.client_context().cause() != std::errc::connection_aborted) return fail(error);
  return refused(400, "the client has ended its side of the connection, which ends the sampling: leave it open\n");
}

/// On the request's fiber. An error: who asked has left, or the daemon stops.
Result<Taken> take(const ProfileSource& source, http::Exchange& exchange) {
  Taken taken;
  const auto now = [&]() -> Result<void> {
    Result<PprofProfile> profile = runtime::blocking([&] { return source.take(); });
    if (!profile) return fail(profile.error());
    taken.profile = std::move(*profile);
    return {};
  };
  const auto seconds = read_number(exchange.request().query, "seconds", 0, kMostSeconds);
  if (!seconds) return refused(400, wrong_seconds());
  if (const Result<void> first = now(); !first) return fail(first.error());
  taken.time = unix_now();
  if (*seconds == 0 || !source.grows) return taken;
  const PprofProfile before = std::move(*taken.profile);
  const std::int64_t began = monotonic_now();
  if (const Result<void> slept = context::sleep(exchange.context(), std::chrono::seconds(*seconds)); !slept)
    return left(exchange, slept.error());
  if (const Result<void> second = now(); !second) return fail(second.error());
  taken.profile->subtract(before);
  taken.duration = monotonic_now() - began;
  return taken;
}

Result<Taken> take_cpu(http::Exchange& exchange) {
  using observe::CpuProfile;
  static constexpr unsigned kUsualSeconds = 30;  // as Go's
  const std::string_view query = exchange.request().query;
  const auto seconds = read_number(query, "seconds", kUsualSeconds, kMostSeconds);
  if (!seconds) return refused(400, wrong_seconds());
  const auto rate = read_number(query, "hz", CpuProfile::kUsualRate, CpuProfile::kMostRate);
  if (!rate)
    return refused(400, "hz: a whole number between 1 and " + std::to_string(CpuProfile::kMostRate) +
                            ": samples a second of CPU time\n");
  Result<std::unique_ptr<CpuProfile>> begun =
      context::blocking(exchange.context(), [rate = *rate] { return CpuProfile::start(rate); });
  if (!begun) {
    if (begun.error() != std::errc::device_or_resource_busy) return left(exchange, begun.error());
    return refused(409, observe::CpuProfile::has_signal()
                            ? "profile: another CPU profile is being taken; ask again when it is over\n"
                            : "profile: a library of this process has a handler for SIGPROF, and keeps it\n");
  }
  Taken taken;
  taken.time = unix_now();
  const std::int64_t began = monotonic_now();
  const Result<void> slept = context::sleep(exchange.context(), std::chrono::seconds(*seconds));
  taken.duration = monotonic_now() - began;
  // It ends now, whether or not somebody waits for it.
  taken.profile = runtime::blocking([&begun] { return (*begun)->stop(); });
  begun->reset();
  if (!slept) return left(exchange, slept.error());
  return taken;
}

Result<void> answer(http::Exchange& exchange, const std::string& name, Taken taken) {
  if (!taken.profile) return exchange.respond(taken.status, kPlainText, taken.refusal);
  const std::string debug = http::query_value(exchange.request().query, "debug").value_or("0");
  const auto profile = std::make_shared<const PprofProfile>(std::move(*taken.profile));
  if (debug != "0") {
    const Result<std::string> text = runtime::blocking([&] { return Result<std::string>(profile->text(name)); });
    if (!text) return fail(text.error());
    return exchange.respond(200, kPlainText, *text);
  }
  const Result<std::string> encoded =
      runtime::blocking([&]() -> Result<std::string> { return profile->encode(taken.time, taken.duration); });
  if (!encoded) return fail(encoded.error());
  const std::string file = "attachment; filename=\"" + name + ".pb.gz\"";
  const std::array<http::Field, 2> fields{{{"Content-Disposition", file}, {"X-Content-Type-Options", "nosniff"}}};
  return exchange.respond(200, "application/octet-stream", *encoded, fields);
}

// ---------------------------------------------------------------------------------------------- flame graph

std::string make_nonce() {
  std::array<unsigned char, 16> random{};
  [[maybe_unused]] const ssize_t n =
      ::getrandom(random.data(), random.size(), 0);  // what is drawn is escaped; this is the second lock
  std::string nonce;
  for (const unsigned char byte : random) {
    nonce += ascii::kHexDigits[byte >> 4U];
    nonce += ascii::kHexDigits[byte & 15U];
  }
  return nonce;
}

Result<void> answer_flames(http::Exchange& exchange, const std::string& name, Taken taken) {
  if (!taken.profile) return exchange.respond(taken.status, kPlainText, taken.refusal);
  const std::string wanted = http::query_value(exchange.request().query, "type").value_or("");
  const auto profile = std::make_shared<const PprofProfile>(std::move(*taken.profile));
  const std::size_t type = profile->type_index(wanted);
  if (type == profile->types().size()) {
    std::string all;
    for (const auto& [one, unit] : profile->types()) all += (all.empty() ? "" : ", ") + one;
    return exchange.respond(400, kPlainText, "type: " + name + " has " + all + "\n");
  }
  const std::string nonce = make_nonce();
  const Result<std::string> page = runtime::blocking([&] {
    const std::string title = name + (profile->types().size() > 1 ? " (" + profile->types()[type].first + ")" : "");
    return Result<std::string>(observe::draw_flames(*profile, type, title).svg(nonce));
  });
  if (!page) return fail(page.error());
  const std::string policy = "default-src 'none'; script-src 'nonce-" + nonce + "'; style-src 'nonce-" + nonce +
                             "'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";
  const std::array<http::Field, 3> fields{
      {{"Content-Security-Policy", policy}, {"X-Content-Type-Options", "nosniff"}, {"Cache-Control", "no-store"}}};
  return exchange.respond(200, "image/svg+xml", *page, fields);
}

class Flames final : public http::Handler {
 public:
  explicit Flames(std::shared_ptr<const std::vector<ProfileSource>> sources) : sources_(std::move(sources)) {}
  Result<void> serve(http::Exchange& exchange) override {
    const std::string name = http::query_value(exchange.request().query, "profile").value_or("goroutine");
    if (name == "cpu") {
      Result<Taken> taken = take_cpu(exchange);
      if (!taken) return fail(taken.error());
      return answer_flames(exchange, name, std::move(*taken));
    }
    for (const ProfileSource& source : *sources_) {
      if (source.name != name) continue;
      Result<Taken> taken = take(source, exchange);
      if (!taken) return fail(taken.error());
      return answer_flames(exchange, name, std::move(*taken));
    }
    std::string all = "cpu";
    for (const ProfileSource& source : *sources_) all += ", " + source.name;
    return exchange.respond(400, kPlainText, "profile: one of " + all + "; not \"" + printable(name, 64) + "\"\n");
  }

 private:
  std::shared_ptr<const std::vector<ProfileSource>> sources_;
};

// ---------------------------------------------------------------------------------------------- symbols

/// As Go's: addresses joined by '+', and a line for each that is a function's. The first line says only that there are
/// symbols.
Result<std::string> name_symbols(std::string_view addresses) {
  observe::SymbolNames names;
  std::string page = "num_symbols: 1\n";
  while (!addresses.empty()) {
    std::string_view word = addresses.substr(0, addresses.find('+'));
    addresses.remove_prefix(std::min(word.size() + 1, addresses.size()));
    if (word.starts_with("0x") || word.starts_with("0X")) word.remove_prefix(2);
    std::uintptr_t address = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), address, 16);
    if (error != std::errc() || address == 0) continue;
    const std::string& name = names.function_at(address);
    if (name.empty()) continue;
    char text[32];
    std::snprintf(text, sizeof text, "0x%zx ", static_cast<std::size_t>(address));
    page += text + name + "\n";
  }
  return page;
}

Result<void> symbol(http::Exchange& exchange) {
  static constexpr std::size_t kMost = 64 * 1024;
  std::string addresses;
  if (exchange.request().method == http::Method::post) {
    for (;;) {
      const Result<std::string_view> piece = exchange.read_body();
      if (!piece) return fail(piece.error());
      if (piece->empty()) break;
      addresses += *piece;
      if (addresses.size() > kMost) return exchange.respond(413, kPlainText, "symbol: 64 KiB of addresses at most\n");
    }
  } else {
    addresses = exchange.request().query.substr(exchange.request().query.starts_with('?') ? 1 : 0);
  }
  const Result<std::string> page = runtime::blocking([&] { return name_symbols(addresses); });
  if (!page) return fail(page.error());
  return exchange.respond(200, kPlainText, *page);
}

// ---------------------------------------------------------------------------------------------- index

std::string index_page(const std::vector<ProfileSource>& sources) {
  std::string page = "/debug/pprof/\n\n";
  const auto line = [&page](std::string_view name, std::string_view help) {
    static constexpr std::size_t kColumn = 16;
    page +=
        std::string(name) + std::string(kColumn - std::min(name.size(), kColumn - 1), ' ') + std::string(help) + "\n";
  };
  line("profile", "CPU time: ?seconds=N (30) &hz=N (100)");
  for (const ProfileSource& source : sources)
    line(source.name, source.help + (source.grows ? "; ?seconds=N: what comes in N seconds" : ""));
  line("goroutineleak", "fibers that wait for ever; &suspects=1: those, too, that somebody might still wake");
  line("POST rates", "how much heap, block and mutex sample: ?heap=512KiB&block=100us&mutex=10; 0: off");
  line("cmdline", "the command line");
  line("symbol", "functions at addresses: ?0x1234+0x5678, or by POST");
  page +=
      "\nAll but the last three: pprof's protobuf for `go tool pprof`, with ?debug=1 as text, and (but for "
      "goroutineleak)\n"
      "as a flame graph at /debug/flame?profile=NAME (&seconds=N &type=TYPE); the first one is called cpu there.\n";
  return page;
}

}  // namespace

std::vector<http::Route> profile_pages() {
  std::vector<http::Route> routes;
  const auto add = [&routes](const std::string& path, std::shared_ptr<http::Handler> handler,
                             http::MethodSet methods = http::MethodSet::of(http::Method::get)) {
    http::Route route;
    route.spec.path = path;
    route.spec.methods = methods;
    route.handler = std::move(handler);
    // What is sampled for a while is answered behind it.
    route.request_timeout = std::chrono::seconds(kMostSeconds + 60);
    routes.push_back(std::move(route));
  };
  const auto sources = std::make_shared<const std::vector<ProfileSource>>(profile_sources());
  for (const ProfileSource& source : *sources) {
    if (source.own_page) continue;
    add("/debug/pprof/" + source.name, http::make_handler([source](http::Exchange& exchange) -> Result<void> {
          if (const auto wrong = wrong_debug(exchange.request().query))
            return exchange.respond(400, kPlainText, *wrong);
          Result<Taken> taken = take(source, exchange);
          if (!taken) return fail(taken.error());
          return answer(exchange, source.name, std::move(*taken));
        }));
  }
  add("/debug/pprof/profile", http::make_handler([](http::Exchange& exchange) -> Result<void> {
        if (const auto wrong = wrong_debug(exchange.request().query)) return exchange.respond(400, kPlainText, *wrong);
        Result<Taken> taken = take_cpu(exchange);
        if (!taken) return fail(taken.error());
        return answer(exchange, "profile", std::move(*taken));
      }));
  add("/debug/pprof/symbol", http::make_handler(&symbol),
      http::MethodSet::of(http::Method::get) | http::MethodSet::of(http::Method::post));
  add("/debug/pprof/", http::make_handler([page = index_page(*sources)](http::Exchange& exchange) {
        return exchange.respond(200, kPlainText, page);
      }));
  routes.push_back(rates_route());
  add("/debug/flame", std::make_shared<Flames>(sources));
  return routes;
}

}  // namespace fiberd::daemon

// What a small request costs in the codec: guard + llhttp, path, route, answer; and the guard alone on a browser's
// head.
#include <benchmark/benchmark.h>

#include <array>
#include <string>

#include "core/http/date.hpp"
#include "core/http/h1/parser.hpp"
#include "core/http/path.hpp"
#include "core/http/response.hpp"
#include "core/http/site/router.hpp"

using namespace fiberd::http;

namespace {

const std::string kHello = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
const std::string kBrowser =
    "GET /index.html?lang=en HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive\r\nUser-Agent: Mozilla/5.0 "
    "(X11; "
    "Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36\r\nAccept: "
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\nAccept-Encoding: gzip, "
    "deflate, br\r\nAccept-Language: en-GB,en;q=0.9\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n\r\n";

void parse(benchmark::State& state, const std::string& text) {
  RequestParser parser;
  for (auto _ : state) {
    parser.reset();
    benchmark::DoNotOptimize(parser.parse(text.data(), text.size()));
    benchmark::DoNotOptimize(parser.request(text.data()).path.size());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(static_cast<std::size_t>(state.iterations()) * text.size()));
}
void guard(benchmark::State& state, const std::string& text) {
  HeadGuard g;
  for (auto _ : state) {
    g.reset();
    benchmark::DoNotOptimize(g.advance(text.data(), text.size()));
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(static_cast<std::size_t>(state.iterations()) * text.size()));
}
void whole_request(benchmark::State& state) {
  const Router router = *Router::make({{.path = "/"}, {.path = "/echo"}, {.path = "/files/*"}});
  const PreparedResponse answer =
      *PreparedResponse::make({.server = "fiberd", .content_type = "text/plain"}, "Hello, World!");
  DateCache date(784111777);
  RequestParser parser;
  std::array<char, 512> out{};
  std::array<char, 512> scratch{};
  for (auto _ : state) {
    parser.reset();
    if (parser.parse(kHello.data(), kHello.size()) != Verdict::complete) state.SkipWithError("refused");
    const WireRequest r = parser.request(kHello.data());
    const NormalisedPath path = normalise_path(r.path, scratch);
    benchmark::DoNotOptimize(router.match(r.method, r.host, path.path).index);
    answer.write(out.data(), r.version, r.keep_alive, r.method != Method::head, date.text());
    benchmark::ClobberMemory();
  }
}
void write_head_each_time(benchmark::State& state) {
  DateCache date(784111777);
  std::array<char, 512> out{};
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        write_head(out, {.content_length = 13, .server = "fiberd", .content_type = "text/plain"}, date.text()));
    benchmark::ClobberMemory();
  }
}

BENCHMARK_CAPTURE(guard, hello, kHello);
BENCHMARK_CAPTURE(guard, browser, kBrowser);
BENCHMARK_CAPTURE(parse, hello, kHello);
BENCHMARK_CAPTURE(parse, browser, kBrowser);
BENCHMARK(whole_request);
BENCHMARK(write_head_each_time);

}  // namespace
